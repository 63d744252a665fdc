//! What the prefiller's side wants done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::session::{LeaseKey, Params, Part, RequestId};

/// Names one grant that was asked for, for ever, in one machine.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "what was asked is a number, which bindings carry")]
pub struct GrantId(pub u64);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant {}", self.0)
    }
}

/// What the prefiller's side wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// The engine: write this into the answer, as [`GRANT`](llmd_core::protocol::GRANT). Once for each request that was taken and
    /// not aborted before.
    Answer {
        /// Whose answer.
        request: RequestId,
        /// What lets it be fetched; `None` when that is not possible, and the decoder computes it.
        params: Option<Params>,
    },
    /// The engine: its blocks may be reused. Once for each request that was taken, and the last that is heard of it.
    Free {
        /// Whose blocks.
        request: RequestId,
    },
    /// This part's agent: grant these blocks, and say [`granted`](super::Prefill::granted) or [`refused`](super::Prefill::refused). One of
    /// them must arrive: say [`refused`](super::Prefill::refused) when the agent restarts before it answers.
    Grant {
        /// Which grant.
        grant: GrantId,
        /// Whose blocks.
        request: RequestId,
        /// Which part.
        part: Part,
        /// The blocks, in the order of the tokens.
        blocks: Arc<[u32]>,
        /// How long the lease lasts from now and from each time that it is kept.
        ttl: Duration,
        /// How many consumers finish it.
        consumers: u32,
    },
    /// This part's agent: let nobody read by this lease any more, and say [`ended`](super::Prefill::ended), of a lease that it does not
    /// know as well.
    Release {
        /// Which part.
        part: Part,
        /// Which lease.
        lease: LeaseKey,
    },
}
