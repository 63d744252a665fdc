//! The hand-over of a request from the engine that prefills it to the engine that decodes it.
//!
//! Two state machines, one on each side. [`Prefill`](prefill::Prefill) asks its agent to grant the blocks of a request that was
//! computed, says what goes into the answer, and says when the blocks may be reused: not before the agent said that every lease on
//! them has ended. [`Decode`](decode::Decode) takes what the answer said, keeps the leases while the request waits for its turn, says
//! how many tokens need not be computed, fetches them into the blocks that the engine allocated, and says that they are there, or
//! which are not, so that the engine computes those. Whatever happens to the other side, a request ends: loaded, or computed here.
//!
//! ```text
//!  prefill engine        Prefill            (agents)            Decode          decode engine
//!   computed ─────────────► Grant ───► lease
//!   answer ◄────────────── Answer
//!      └─────────────── router: kv_transfer_params.grant ─────────► arrive
//!                                  lease ◄─────────────────────── Keep … (waits)
//!                                                                 matched ◄──────── how many tokens?
//!                                                                 allocated ◄────── these blocks
//!                                  lease ◄──── reads ──────────── Fetch
//!                         ended ◄─ Finished               Done ──► fetched
//!   reuse ◄──────────────── Free                                  Loaded ─────────► decode
//! ```
//!
//! Neither does I/O or reads a clock. What happens is told by methods that take `now`; what is to be done comes out of `poll`, as
//! actions. The caller polls after it told something, and no later than `next_deadline`. What agents tell may come late, twice, or in
//! another order, and how a lease or a fetch ended may be lost: it is asked for again. The caller keeps to this much:
//!
//! - Actions are carried out in the order in which they come: a cancellation that overtook its fetch would stop nothing.
//! - Every [`Grant`](prefill::Action::Grant) is answered: only the agent knows whether somebody reads.
//! - An agent that restarted is told of: to [`Prefill`](prefill::Prefill::restarted) in the order of the restarts, to
//!   [`Decode`](decode::Decode::restarted) before the new one is given anything.
//!
//! ```
//! use std::time::Duration;
//! use llmd_core::GroupIdx;
//! use llmd_kvxfer::LeaseEnd;
//! use llmd_kvxfer::session::{LeaseKey, Part, RequestId};
//! use llmd_kvxfer::session::decode::{self, Allocation, Decode};
//! use llmd_kvxfer::session::prefill::{self, Lent, Prefill};
//! use llmd_kvxfer::{Blocks, Outcome};
//!
//! let (now, id) = (Duration::from_secs(100), RequestId::new("cmpl-7")?);
//! let mut prefill = Prefill::new(prefill::Settings::default())?;
//! let mut decode = Decode::new(decode::Settings::default())?;
//!
//! // 40 tokens were computed, in three blocks of 16.
//! let part = Part { group: GroupIdx(0), shard: 0 };
//! prefill.computed(now, &id, 40, 1, vec![Lent { part, from_token: 0, blocks: vec![4, 9, 2] }])?;
//! let mut actions = Vec::new();
//! prefill.poll(now, &mut actions);
//! let [prefill::Action::Grant { grant, .. }] = actions[..] else { panic!() };
//! let lease = LeaseKey { boot: 1, number: 0 };
//! prefill.granted(now, grant, lease, b"what the agent wrote".as_slice().into());
//! prefill.poll(now, &mut actions);
//! let Some(prefill::Action::Answer { params: Some(params), .. }) = actions.last() else { panic!() };
//!
//! // The decoder holds the first block already, and fetches the other two.
//! decode.arrive(now, &id, 40, &params.to_text())?;
//! assert_eq!(decode.matched(&id, 16), 24);
//! let blocks = Allocation { group: GroupIdx(0), block_tokens: 16, from_token: 16, blocks: vec![5, 6] };
//! decode.allocated(now, &id, 16, 24, vec![blocks])?;
//! let mut actions = Vec::new();
//! decode.poll(now, &mut actions);
//! let [decode::Action::Fetch { fetch, .. }, decode::Action::Keep { .. }] = actions[..] else { panic!() };
//! decode.fetched(now, fetch, Outcome::Done, &Blocks::all(2));
//! decode.poll(now, &mut actions);
//! assert!(matches!(actions.last(), Some(decode::Action::Loaded { .. })));
//!
//! // All consumers have finished: the prefiller's blocks may be reused.
//! let mut actions = Vec::new();
//! prefill.ended(now, lease, LeaseEnd::Finished);
//! prefill.poll(now, &mut actions);
//! assert!(matches!(actions.last(), Some(prefill::Action::Free { .. })));
//! # Ok::<(), llmd_core::Error>(())
//! ```

pub mod decode;
mod params;
pub mod prefill;
mod text;
mod timers;

use std::fmt;
use std::sync::Arc;

use llmd_core::Result;

pub use self::params::{GrantBytes, Granted, Params, Part};
/// The text that stands for bytes.
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::text::encode as text_of;

/// A request, by the name that its engine gave it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// At most how many bytes a name has.
    pub const MAX_BYTES: usize = 512;

    /// The request of this name.
    ///
    /// # Errors
    ///
    /// [`Invalid`](llmd_core::ErrorKind::Invalid) for a name that is empty, or longer than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() || name.len() > Self::MAX_BYTES {
            let expected = format!("expected 1 to {}", Self::MAX_BYTES);
            return Err(params::invalid(format!("a request's name of {} bytes: {expected}", name.len())));
        }
        Ok(Self(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// Names one lease for ever: no two boots of agents have the same number, and no two leases of a boot. An agent's
/// [`LeaseId::generation`](crate::LeaseId::generation) is such a number, and the beginning of its [`AgentId`](crate::AgentId) such a boot.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a boot and a number name a lease")]
pub struct LeaseKey {
    /// Which run of the agent granted it.
    pub boot: u64,
    /// Which of that run's leases it is.
    pub number: u64,
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {} of boot {:x}", self.number, self.boot)
    }
}

/// Whether blocks may be reused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use = "blocks that are reused too early are read, or written, by somebody else"]
#[non_exhaustive]
pub enum Reuse {
    /// When `Free` says so.
    Later,
    /// At once: nobody reads or writes them.
    Now,
}
