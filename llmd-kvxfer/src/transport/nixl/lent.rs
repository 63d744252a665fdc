//! What peers read: our pools, their seals and the board of leases, registered with a NIXL agent that reads nothing itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::{Check, Home};
use super::message::{Found, MAX_METADATA, Place};
use super::pace::Pace;
use crate::grant::AgentId;
use crate::nixl::{self, AgentSettings, Memory, Metadata, Nixl, Registration};
use crate::pool::Pool;

/// The NIXL agent by which peers read, and what it has registered.
#[derive(Debug)]
pub(super) struct Lent {
    agent: nixl::Agent,
    /// As it is now; `None` when something was registered since, or is no more.
    metadata: Option<Metadata>,
    board: Registration,
    is_sealed: bool,
    pools: HashMap<u32, LentPool>,
    /// Pools that are not to be read any more, and may be all the same.
    leaving: Vec<(LentPool, Option<Duration>)>,
    pace: Pace,
    heard: Vec<nixl::Event>,
}

#[derive(Debug)]
struct LentPool {
    pool: Pool,
    memory: Registration,
    seals: Registration,
    /// Clients that were told where it is.
    known: HashSet<u64>,
}

/// How long after a client said that it reads it is taken to do so: it says it again and again.
const READS_FOR: Duration = Duration::from_millis(50);
/// How long a pool's memory is kept after the last client that knew it has left: what it had asked for may still be under way.
const GRACE: Duration = Duration::from_secs(2);

/// How often NIXL goes on in one look: each time with a little, and it does not say whether there was anything.
const AT_ONCE: usize = 16;

impl Lent {
    pub(super) fn new(nixl: &Nixl, settings: &AgentSettings, home: &Home) -> Result<Self> {
        let mut agent = nixl.agent(&name_of(home.agent()), settings)?;
        let board = agent.register(Memory::of_words(Arc::new(home.board.clone()))?)?;
        let is_sealed = home.check != Check::Off;
        let (pools, leaving, pace) = (HashMap::new(), Vec::new(), Pace::default());
        Ok(Self { agent, metadata: None, board, is_sealed, pools, leaving, pace, heard: Vec::new() })
    }

    pub(super) fn register(&mut self, pool: &Pool) -> Result<()> {
        let memory = self.agent.register(Memory::of_region(pool.region())?)?;
        let seals = self.agent.register(Memory::of_words(Arc::clone(pool.seals()))?)?;
        self.metadata = None;
        self.pools.insert(pool.id(), LentPool { pool: pool.clone(), memory, seals, known: HashSet::new() });
        Ok(())
    }

    /// Lets nobody else read a pool, and says which clients have to leave it: its memory is kept until they have.
    pub(super) fn unregister(&mut self, pool: u32) -> Vec<u64> {
        let Some(leaving) = self.pools.remove(&pool) else { return Vec::new() };
        self.metadata = None;
        let known = leaving.known.iter().copied().collect::<Vec<_>>();
        if known.is_empty() {
            drop(leaving);
            self.serve();
        } else {
            self.leaving.push((leaving, None));
        }
        known
    }

    /// Where a pool is, for a client of this tenant, which knows it from now on.
    pub(super) fn find(&mut self, home: &Home, client: u64, tenant: &str, pool: u32) -> Result<Found> {
        home.pool(tenant, pool)?;
        let metadata = match &self.metadata {
            Some(metadata) => metadata.clone(),
            None => self.metadata.insert(self.agent.metadata()?).clone(),
        };
        let there = self.pools.get_mut(&pool);
        let there = there.ok_or_else(|| {
            Error::new(ErrorKind::Denied, format!("pool {pool} is of memory that NIXL cannot be told of"))
        })?;
        let metadata = metadata.as_bytes();
        if metadata.len() > MAX_METADATA {
            let message = format!("NIXL's metadata has {} bytes, expected at most {MAX_METADATA}", metadata.len());
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        there.known.insert(client);
        Ok(Found {
            pool,
            layout: there.pool.layout().clone(),
            is_sealed: self.is_sealed,
            memory: place(&there.memory),
            seals: place(&there.seals),
            board: place(&self.board),
            metadata: metadata.to_vec(),
        })
    }

    /// A client has left a pool.
    pub(super) fn left(&mut self, client: u64, pool: u32) {
        for (there, _) in self.leaving.iter_mut().filter(|(there, _)| there.pool.id() == pool) {
            there.known.remove(&client);
        }
    }

    /// A client is gone.
    pub(super) fn gone(&mut self, client: u64) {
        let leaving = self.leaving.iter_mut().map(|(there, _)| there);
        self.pools.values_mut().chain(leaving).for_each(|there| {
            there.known.remove(&client);
        });
    }

    /// A client reads.
    pub(super) fn read_from(&mut self, now: Duration) {
        self.pace.moved(now);
        self.pace.until(now + READS_FOR);
    }

    /// Answers those who read, and lets go of pools that everybody has left.
    pub(super) fn poll(&mut self, now: Duration) {
        let known = self.leaving.len();
        self.leaving.retain_mut(|(there, until)| !there.known.is_empty() || now < *until.get_or_insert(now + GRACE));
        if self.pace.is_due(now) || self.leaving.len() < known {
            self.serve();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let leaving = self.leaving.iter().filter(|(there, _)| there.known.is_empty());
        // One that has just been left by everybody is looked at as soon as can be.
        leaving.map(|(_, until)| until.unwrap_or_default()).chain(self.pace.next()).min()
    }

    fn serve(&mut self) {
        for _ in 0..AT_ONCE {
            // What peers notify us of is of no interest, and what NIXL says when it cannot take it neither.
            let _heard = self.agent.poll(&mut self.heard);
            self.heard.clear();
        }
    }
}

/// How the NIXL agent is named by which this one lends.
pub(super) fn name_of(agent: AgentId) -> String {
    agent.to_bytes().iter().fold("llmd-".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}

fn place(registration: &Registration) -> Place {
    Place { address: registration.memory().address(), len: registration.memory().len() }
}
