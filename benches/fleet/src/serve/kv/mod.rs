//! Real bytes for the blocks of an engine, lent to other engines and fetched from them.
//!
//! The engine's thread writes what it computed and lends what is to be decoded elsewhere; connections fetch; a thread of its own
//! hears what ended, and checks every byte that came.

mod content;
mod counts;
mod params;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Agent, Event, Fetched, Grant, HostMemory, KvLayout, Lease, LeaseId, OpId, Outcome, Pool, Shm};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tokio::sync::oneshot;

pub(super) use self::counts::KvCounts;
pub(super) use self::params::{Handed, KvTransferParams};
use super::driver::Command;
use crate::model::{BlockId, Digest, Expected, RequestId};

/// How long what was prefilled is kept for a decoder, in wall time.
const LEASE: Duration = Duration::from_secs(30);
/// How long a fetch may take, in wall time.
const FETCH: Duration = Duration::from_secs(10);

/// The bytes of an engine's blocks.
#[derive(Debug)]
pub(super) struct Kv {
    agent: Agent,
    pool: Pool,
    host: String,
    port: u16,
    /// Which request's blocks a lease lends. Locked while a lease begins, so that its end is not heard before.
    lent: Mutex<HashMap<LeaseId, RequestId>>,
    /// Fetches under way. Locked while one begins.
    fetching: Mutex<HashMap<OpId, Fetching>>,
    counts: Mutex<KvCounts>,
}

/// A fetch under way.
#[derive(Debug)]
struct Fetching {
    blocks: Vec<BlockId>,
    names: Vec<Digest>,
    done: oneshot::Sender<usize>,
}

impl Kv {
    /// Memory of `block_bytes` for each of `blocks` blocks, for the engine at this address. Its thread tells the engine by
    /// `commands` whose blocks nobody reads any longer.
    ///
    /// # Errors
    ///
    /// Those of the memory and of the agent.
    pub(super) fn start(
        name: &str,
        address: std::net::SocketAddr,
        blocks: u32,
        block_bytes: u32,
        commands: SyncSender<Command>,
    ) -> Result<Arc<Self>> {
        let layout = KvLayout::opaque("llmd-fleet", blocks, block_bytes)?;
        let memory = HostMemory::new(layout.end() as usize).lazily().allocate()?;
        let agent = Agent::builder(name).transport(Shm::default()).build()?;
        let pool = agent.register(memory, layout)?;
        let (lent, fetching, counts) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (host, port) = (address.ip().to_string(), address.port());
        let kv = Arc::new(Self { agent, pool, host, port, lent, fetching, counts });
        let listening = Arc::clone(&kv);
        let listen = move || listening.listen(&commands);
        std::thread::Builder::new().name("kv".into()).spawn(listen).map_err(|error| {
            llmd_core::Error::new(llmd_core::ErrorKind::Exhausted, "no thread for KV").with_source(error)
        })?;
        Ok(kv)
    }

    /// Writes what the engine computed.
    pub(super) fn write(&self, filled: &[(BlockId, Digest)]) {
        let mut bytes = vec![0; self.pool.layout().block_bytes() as usize];
        for (block, name) in filled {
            content::content(name, &mut bytes);
            if let Err(error) = self.pool.write_block(*block, &bytes) {
                tracing::error!(%error, block, "a block was not written");
            }
        }
    }

    /// Lends the blocks of a request that was prefilled, and gives what the decoder must be told.
    ///
    /// # Errors
    ///
    /// Those of [`Agent::grant`].
    pub(super) fn lend(&self, request: RequestId, blocks: &[BlockId], tokens: usize) -> Result<Value> {
        let mut lent = self.lent.lock();
        let grant = self.agent.grant(&self.pool, blocks, Lease::new(LEASE))?;
        lent.insert(grant.lease(), request);
        drop(lent);
        Ok(params::granted(&grant, &self.host, self.port, tokens))
    }

    /// Fetches what was expected, checks it, and says how many leading blocks are right. What else there is of the grant is not
    /// needed.
    pub(super) async fn fetch(&self, grant: &Grant, expected: &Expected) -> usize {
        let (first, count) = (expected.first(), expected.blocks().len());
        let begun = grant.part(first..first + count).and_then(|part| {
            let mut fetching = self.fetching.lock();
            let op = self.agent.fetch(&part, &self.pool, expected.blocks(), FETCH)?;
            let (done, heard) = oneshot::channel();
            let (blocks, names) = (expected.blocks().to_vec(), expected.names().to_vec());
            fetching.insert(op, Fetching { blocks, names, done });
            Ok(heard)
        });
        match begun {
            // Its thread hears of every end, and ends with the engine.
            Ok(heard) => heard.await.unwrap_or(0),
            Err(error) => {
                tracing::warn!(%error, "KV is not fetched, and computed again");
                self.counts.lock().not_begun(count);
                0
            }
        }
    }

    /// Says that nothing of a grant is needed. Whoever granted notices by itself when it cannot be told.
    pub(super) fn decline(&self, grant: &Grant) {
        if let Err(error) = self.agent.finish(grant) {
            tracing::debug!(%error, "a grant that is not needed is not given back");
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> KvCounts {
        self.counts.lock().clone()
    }

    /// Hears what ended, until the engine is gone.
    fn listen(&self, commands: &SyncSender<Command>) {
        let mut events = Vec::new();
        let longest = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            let waited = poll(&mut [PollFd::new(&self.agent.wake_fd(), PollFlags::IN)], Some(&longest));
            if let Err(error) = waited.map_err(std::io::Error::from) {
                tracing::debug!(%error, "waiting for KV was interrupted");
            }
            if let Err(error) = self.agent.poll(&mut events) {
                tracing::error!(%error, "KV is heard of no more");
                return;
            }
            for event in events.drain(..) {
                match event {
                    Event::Fetched(fetched) => self.fetched(&fetched),
                    Event::LeaseEnded(ended) => {
                        let Some(request) = self.lent.lock().remove(&ended.lease) else { continue };
                        if commands.send(Command::LetGo(request)).is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Checks what came, byte by byte, and says how much of it can be used.
    fn fetched(&self, fetched: &Fetched) {
        let Some(Fetching { blocks, names, done }) = self.fetching.lock().remove(&fetched.op) else { return };
        let came: Vec<bool> = (0..blocks.len()).map(|place| fetched.blocks.has(place)).collect();
        let right = blocks
            .iter()
            .zip(&names)
            .zip(&came)
            .map(|((&block, name), &came)| came && content::holds(&self.pool, block, name));
        let right: Vec<bool> = right.collect();
        if fetched.outcome != Outcome::Done {
            let why = fetched.why.as_deref().unwrap_or_default();
            tracing::warn!(outcome = %fetched.outcome, why, "KV did not come whole: the rest is computed again");
        }
        self.counts.lock().fetched(fetched, &came, &right);
        let leading = right.iter().take_while(|&&right| right).count();
        // Whoever asked may have gone away.
        _ = done.send(leading);
    }
}
