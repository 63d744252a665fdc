//! What the decoder's side wants done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::GroupIdx;

use crate::session::{GrantBytes, Part, RequestId};

/// Names one fetch for ever, in one machine.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a fetch is a number, which bindings carry")]
pub struct FetchId(pub u64);

impl fmt::Display for FetchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fetch {}", self.0)
    }
}

/// A block that could not be fetched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a block belongs to a group")]
pub struct FailedBlock {
    /// Its group.
    pub group: GroupIdx,
    /// The block, as it was allocated.
    pub block: u32,
}

/// What the decoder's side wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// The agent: stop this fetch, and say [`fetched`](super::Decode::fetched) when nothing writes any more; of a fetch that has ended,
    /// say so again.
    Cancel {
        /// Which fetch.
        fetch: FetchId,
    },
    /// The agent: fetch by this grant into these blocks, and say [`fetched`](super::Decode::fetched) once.
    Fetch {
        /// Which fetch.
        fetch: FetchId,
        /// Whose blocks.
        request: RequestId,
        /// Which part of the producer's.
        part: Part,
        /// What lets it be fetched.
        grant: GrantBytes,
        /// How many tokens of what was granted come before the first of these blocks.
        skip_tokens: u32,
        /// Into which blocks, in the order of the tokens.
        blocks: Arc<[u32]>,
        /// How long it may take.
        within: Duration,
    },
    /// The engine: its blocks may be reused. Follows an [abort](super::Decode::abort) or a [preemption](super::Decode::preempted) that
    /// was answered with [`Later`](crate::session::Reuse::Later).
    Free {
        /// Whose blocks.
        request: RequestId,
    },
    /// The agent: tell the producer that its blocks are still wanted.
    Keep {
        /// Whose blocks.
        request: RequestId,
        /// Which part of the producer's.
        part: Part,
        /// By which grant.
        grant: GrantBytes,
    },
    /// The engine: everything is here.
    Loaded {
        /// Which request.
        request: RequestId,
    },
    /// The engine: these blocks are not here, and what comes from `from_token` on must be computed. The others are.
    Recompute {
        /// Which request.
        request: RequestId,
        /// The token at which the first of them begins.
        from_token: u32,
        /// The blocks, in order.
        failed: Vec<FailedBlock>,
    },
    /// The agent: tell the producer that this consumer wants nothing more by this grant. It may be lost: the lease lapses then.
    Release {
        /// Whose blocks.
        request: RequestId,
        /// Which part of the producer's.
        part: Part,
        /// By which grant.
        grant: GrantBytes,
    },
}
