//! What moves bytes between the pools of two agents.
//!
//! A [`Transport`] is given a [`Transfer`] (a plan and two lists of blocks) and lowers it to what it does cheapest; how it ended is
//! found by polling. It keeps the connections that it needs by itself, and serves those of others from a [`Home`], which says who
//! may read what. An implementation is right when [`testing::transport`](crate::testing) says so.

mod bell;
mod buffered;
mod copiers;
mod cuda_ipc;
mod dma;
mod forward;
mod home;
mod job;
mod left_alone;
mod local;
#[cfg(feature = "nixl")]
mod nixl;
mod poller;
mod process;
mod sealing;
mod shm;
mod target;
mod tcp;
mod way;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

pub(crate) use self::bell::Bell;
pub(crate) use self::copiers::Copiers;
pub use self::cuda_ipc::CudaIpc;
pub(crate) use self::forward::forward;
pub(crate) use self::home::HomeSettings;
pub use self::home::{Check, Home, LeaseEnded, Notified, Reading};
pub use self::local::Local;
#[cfg(feature = "nixl")]
pub use self::nixl::NixlTransport;
pub(crate) use self::process::process;
pub use self::shm::Shm;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::shm::message_again as shm_message_again;
pub use self::tcp::Tcp;
#[cfg(feature = "tls")]
pub use self::tcp::Tls;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::tcp::messages_again as tcp_messages_again;
use self::way::Way;
pub(crate) use self::way::Ways;
use crate::grant::Grant;
use crate::lease::{Capability, LeaseId};
use crate::outcome::{Blocks, Outcome};
use crate::plan::Plan;
use crate::pool::Pool;

/// Moves blocks of other agents' pools into ours, and serves others with ours.
pub trait Transport: Send + fmt::Debug {
    /// Its name, as addresses in grants and metrics have it.
    fn name(&self) -> &'static str;

    /// Who sees to it that nobody reads what was not lent to it.
    fn trust(&self) -> Trust;

    /// Begins to serve from `home`: called once, before anything else.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](llmd_core::ErrorKind::Unavailable) and others when it cannot: the agent is not built.
    fn start(&mut self, home: &Arc<Home>) -> Result<()>;

    /// Where peers find it: it goes into every grant. `None` when nobody has to.
    fn address(&self) -> Option<String>;

    /// Makes a pool's memory ready to be read by peers and written to by us.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](llmd_core::ErrorKind::Unsupported) when it cannot move such memory: its grants do not name this transport.
    fn register(&mut self, pool: &Pool) -> Result<()>;

    /// Forgets a pool. What is under way of it ends.
    fn unregister(&mut self, pool: &Pool);

    /// Whether the blocks of a grant can be brought into this pool, and what that costs.
    ///
    /// # Errors
    ///
    /// Why not.
    fn reach(&self, grant: &Grant, pool: &Pool) -> Result<Cost>;

    /// Begins a transfer. One that is small may be over when this returns; else its end comes from [`poll`](Self::poll).
    ///
    /// # Errors
    ///
    /// [`Exhausted`](llmd_core::ErrorKind::Exhausted) when too many are under way, and what [`reach`](Self::reach) says: then nothing
    /// was begun.
    fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>>;

    /// Ends a transfer, as [`Outcome::Cancelled`] unless it was faster. Its end still comes from [`poll`](Self::poll): not before
    /// nothing is written to its blocks any more.
    fn cancel(&mut self, transfer: TransferId);

    /// Says something to the agent that granted. It is lost when that agent cannot be reached.
    ///
    /// # Errors
    ///
    /// Why it cannot be said.
    fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()>;

    /// Does what there is to do without waiting, and says which transfers ended. Says whether anything was done.
    fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool;

    /// Nobody will call [`poll`](Self::poll) before [`wake_fd`](Self::wake_fd) is readable or a deadline is reached: has peers make
    /// it so from now on. Says no when there is something to do already.
    fn sleep(&mut self) -> bool {
        true
    }

    /// Somebody looks by itself again, until the next [`sleep`](Self::sleep).
    fn awake(&mut self) {}

    /// When [`poll`](Self::poll) has something to do by itself at the latest.
    fn next_deadline(&self) -> Option<Duration> {
        None
    }

    /// Readable when [`poll`](Self::poll) has something to do; the same from [`start`](Self::start) on.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// How many peers it is connected with.
    fn peers(&self) -> usize {
        0
    }
}

/// Who sees to it that nobody reads what was not lent to it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Trust {
    /// The side that serves checks every read.
    Enforcing,
    /// Once a peer has the memory it can read all of the pool: those who share one trust each other.
    Trusting,
}

/// Which transfer: its agent's number for it.
pub type TransferId = u64;

/// Blocks to be brought from another agent's pool into one of ours.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transfer {
    /// Its number.
    pub id: TransferId,
    /// What may be read.
    pub grant: Grant,
    /// Where it goes.
    pub pool: Pool,
    /// To which blocks.
    pub blocks: Arc<[u32]>,
    /// Which bytes go where.
    pub plan: Arc<Plan>,
    /// Whether what arrives is held against what was sealed.
    pub is_checked: bool,
    /// Those with a higher one go first.
    pub priority: u8,
    /// When its caller gives up.
    pub deadline: Duration,
}

impl Transfer {
    /// How many bytes it brings.
    pub fn bytes(&self) -> u64 {
        let (read, written) = self.plan.period();
        let periods = self.grant.blocks().len().div_ceil(read).max(self.blocks.len().div_ceil(written));
        self.plan.period_bytes().saturating_mul(periods as u64)
    }
}

/// How a transfer ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ending {
    /// Which.
    pub id: TransferId,
    /// How.
    pub outcome: Outcome,
    /// Which of its blocks are where they were to go, as they were sent.
    pub blocks: Blocks,
    /// How many bytes were brought.
    pub bytes: u64,
    /// What happened, where the outcome alone does not say it.
    pub why: Option<String>,
}

impl Ending {
    /// It ended like this, with nothing brought.
    pub fn failed(id: TransferId, blocks: usize, outcome: Outcome, why: impl Into<String>) -> Self {
        Self { id, outcome, blocks: Blocks::none(blocks), bytes: 0, why: Some(why.into()) }
    }
}

/// What a transfer is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// Before the first byte.
    pub latency: Duration,
    /// From then on, in bytes a second.
    pub rate: f64,
    /// By which way the transport would go, where it has several and knows it: `mapped`, `cma` or `staged` by shared memory.
    pub way: &'static str,
    /// Why not by a faster one.
    pub why: &'static str,
}

impl Cost {
    /// So much.
    pub const fn new(latency: Duration, rate: f64) -> Self {
        Self { latency, rate, way: "", why: "" }
    }

    /// How long so many bytes take.
    pub fn of(&self, bytes: u64) -> Duration {
        self.latency + Duration::try_from_secs_f64(bytes as f64 / self.rate).unwrap_or(Duration::MAX / 2)
    }
}

/// How a transfer ends of which an error of this kind was said.
pub(crate) fn outcome_of(kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::Corrupt => Outcome::Corrupt,
        ErrorKind::Denied => Outcome::Denied,
        ErrorKind::Stale => Outcome::Stale,
        ErrorKind::Unavailable => Outcome::PeerLost,
        _ => Outcome::Io,
    }
}

/// What a device says that is lost: the peer is there.
pub(crate) fn of_the_device(error: Error) -> Error {
    if error.kind() == ErrorKind::Unavailable { Error::new(ErrorKind::Internal, error.to_string()) } else { error }
}

/// What the side that reads says to the one that granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Note {
    /// Of which lease.
    pub lease: LeaseId,
    /// That it may.
    pub capability: Capability,
    /// What.
    pub word: Word,
}

/// What is said of a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Word {
    /// This consumer has what it needs.
    Finished {
        /// Which: the beginning of its agent's id.
        consumer: u64,
    },
    /// Something that the two understand: it is given to whoever polls the agent that granted.
    Notify {
        /// What.
        value: u128,
    },
    /// It is still wanted.
    Wanted,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn local_conforms() {
        let here = Local::default();
        testing::transport(|| here.clone());
    }

    #[test]
    fn shm_conforms() {
        testing::transport(Shm::default);
    }

    #[test]
    fn tcp_conforms() {
        testing::transport(|| Tcp::bind("127.0.0.1:0").expect("there is a port that is free"));
    }

    #[test]
    fn a_throttled_one_conforms_too() {
        testing::transport(|| testing::Throttled::new(Shm::default(), 4e9));
    }
}
