//! The right to read blocks, until a deadline.

mod capability;
mod table;

use std::time::Duration;

pub use self::capability::Capability;
pub use self::table::LeaseEnd;
pub(crate) use self::table::{Ended, Fence, LeaseTable};

/// On which terms blocks are lent: for how long, and to how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "nothing is lent yet"]
pub struct Lease {
    ttl: Duration,
    consumers: u16,
    longest: Duration,
}

impl Lease {
    /// For so long, to one consumer, which may have it prolonged by heartbeats to ten times as much.
    pub const fn new(ttl: Duration) -> Self {
        Self { ttl, consumers: 1, longest: ttl.saturating_mul(10) }
    }

    /// For so many seconds.
    pub const fn for_secs(seconds: u64) -> Self {
        Self::new(Duration::from_secs(seconds))
    }

    /// To so many consumers, such as the ranks of a decoder; 0 is taken for 1. It ends when all have finished.
    pub const fn consumers(self, consumers: u16) -> Self {
        Self { consumers: if consumers == 0 { 1 } else { consumers }, ..self }
    }

    /// For no longer than this, whatever heartbeats come.
    pub const fn at_most(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// How long it holds without a heartbeat.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }
}

/// Which lease of an agent: its number, and in which slot of the board it stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "the wire has these two")]
pub struct LeaseId {
    /// Its place on the board.
    pub slot: u32,
    /// Which of all that its agent granted; never 0, and never used twice.
    pub generation: u64,
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}
