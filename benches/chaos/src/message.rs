//! What the conductor and the engines say to each other, a line each.

use llmd_kvxfer::Outcome;
use serde::{Deserialize, Serialize};

use crate::content::Truth;

/// Whom an engine takes itself for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Role {
    /// One of the tenant that all others serve, with its key.
    Peer,
    /// One of another tenant, which they serve other pools.
    Neighbour,
    /// One that says it is of their tenant, and has another key.
    Stranger,
}

/// What an engine is told when it is started.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Birth {
    pub(crate) slot: usize,
    /// Which of all lives of all engines.
    pub(crate) life: u64,
    pub(crate) role: Role,
    pub(crate) seed: u64,
    pub(crate) folder: String,
    /// By which it moves blocks.
    pub(crate) transports: Vec<String>,
    /// The address at which it listens.
    pub(crate) host: String,
}

/// Whether a grant is what it seems.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(crate) enum Kind {
    Honest,
    /// Each fetches from each, while nothing is broken.
    Mesh,
    /// It leads to somebody else's socket.
    Address,
    /// It names more blocks than were granted.
    Beyond,
    /// It names other blocks.
    Blocks,
    /// It has a capability that nobody gave out.
    Capability,
    /// Its end is missing.
    Cut,
    /// A bit was turned.
    Flipped,
    /// It names another lease.
    Lease,
    /// It names another pool.
    Pool,
    /// Its lease has ended.
    Replayed,
    /// It was given to one with a wrong key.
    WrongKey,
    /// It was given to one of another tenant.
    WrongTenant,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Mesh => "mesh",
            Self::Address => "address",
            Self::Beyond => "beyond",
            Self::Blocks => "blocks",
            Self::Capability => "capability",
            Self::Cut => "cut_off",
            Self::Flipped => "flipped",
            Self::Lease => "lease",
            Self::Pool => "pool",
            Self::Replayed => "replayed",
            Self::WrongKey => "wrong_key",
            Self::WrongTenant => "wrong_tenant",
        }
    }

    /// Whether the blocks that were granted may arrive all the same: it has the right lease and capability. No others may.
    pub(crate) const fn may_bring_what_was_granted(self) -> bool {
        match self {
            Self::Address | Self::Beyond | Self::Blocks | Self::Flipped | Self::Honest | Self::Mesh | Self::Pool => {
                true
            }
            Self::Capability | Self::Cut | Self::Lease => false,
            Self::Replayed | Self::WrongKey | Self::WrongTenant => false,
        }
    }

    pub(crate) const fn is_forged(self) -> bool {
        !matches!(self, Self::Honest | Self::Mesh)
    }
}

/// To an engine.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    /// Grants come by themselves from now on.
    Go,
    /// No more of them, and nothing is fetched any more but for a mesh.
    Calm,
    Fetch {
        grant: String,
        kind: Kind,
        truth: Truth,
    },
    /// One block of each pool is granted, to be fetched by all.
    Mesh,
    /// What was granted for a mesh is taken back.
    EndMesh,
    /// It ends its agent and builds another, on the same memory.
    Rebuild,
    /// It has no file descriptor left for so long.
    Exhaust {
        millis: u64,
    },
    Measure,
    /// It ends its agent, and measures what is left.
    End,
}

/// From an engine.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Told {
    /// It is there, and had this before it built its agent.
    Up {
        before: Measured,
    },
    Granted {
        grant: String,
        lease: (u32, u64),
        truth: Truth,
        consumers: u16,
        is_mesh: bool,
    },
    /// A lease ended.
    Over {
        lease: (u32, u64),
    },
    /// An operation did.
    Ended(Ended),
    /// What could not even begin.
    Refused {
        kind: Kind,
        why: String,
    },
    /// One of a mesh arrived.
    Meshed,
    Hung {
        kind: Kind,
        after: f64,
    },
    /// Operations that were given up with their agent.
    Abandoned {
        operations: usize,
    },
    Rebuilt {
        failures: u32,
    },
    Measured(Measured),
    /// The agent is gone, and this is left.
    Left(Measured),
}

/// How an operation ended, and what was found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ended {
    pub(crate) kind: Kind,
    /// Its place among [`Outcome::ALL`].
    pub(crate) outcome: usize,
    pub(crate) transport: String,
    pub(crate) bytes: u64,
    pub(crate) checked_blocks: u64,
    /// Bytes that were said to be right and were not, or were written when the operation had ended.
    pub(crate) wrong_bytes: u64,
    /// Bytes that came and were not this one's to read.
    pub(crate) foreign_bytes: u64,
    pub(crate) said: String,
}

impl Ended {
    pub(crate) fn place_of(outcome: Outcome) -> usize {
        Outcome::ALL.iter().position(|&there| there == outcome).unwrap_or_default()
    }
}

/// What a process holds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Measured {
    pub(crate) fds: usize,
    pub(crate) mappings: usize,
    pub(crate) threads: usize,
    pub(crate) leases: usize,
    pub(crate) operations: usize,
}

impl Measured {
    /// What there is more of than there was.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<(&'static str, usize)> {
        let counts = [
            ("fds", self.fds, before.fds),
            ("mappings", self.mappings, before.mappings),
            ("threads", self.threads, before.threads),
            ("leases", self.leases, before.leases),
            ("operations", self.operations, before.operations),
        ];
        counts.into_iter().filter(|(_, now, then)| now > then).map(|(what, now, then)| (what, now - then)).collect()
    }
}
