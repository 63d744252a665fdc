//! How bytes get from one process of a machine to another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Cost;

/// How bytes get from one process of a machine to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// The one that reads has mapped the memory.
    Mapped,
    /// It reads the other's memory by its address.
    Cma,
    /// The other copies to memory that both have mapped, and it copies from there. And why not otherwise.
    Staged(&'static str),
    /// A device copies out of memory that the other exported to it.
    Ipc,
}

impl Way {
    pub(super) const fn cost(self) -> Cost {
        let (name, why, latency, rate) = match self {
            Self::Mapped => ("mapped", "", Duration::from_micros(1), 10e9),
            Self::Cma => ("cma", "", Duration::from_micros(2), 8e9),
            Self::Ipc => ("ipc", "", Duration::from_micros(20), 50e9),
            Self::Staged(why) => ("staged", why, Duration::from_micros(50), 4e9),
        };
        Cost { way: name, why, ..Cost::new(latency, rate) }
    }
}

/// How many bytes came by each.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    pub(crate) mapped: AtomicU64,
    pub(crate) cma: AtomicU64,
    pub(crate) staged: AtomicU64,
    pub(crate) ipc: AtomicU64,
}

impl Ways {
    pub(super) fn count(&self, way: Way, bytes: u64) {
        let count = match way {
            Way::Mapped => &self.mapped,
            Way::Cma => &self.cma,
            Way::Staged(_) => &self.staged,
            Way::Ipc => &self.ipc,
        };
        count.fetch_add(bytes, Ordering::Relaxed);
    }
}
