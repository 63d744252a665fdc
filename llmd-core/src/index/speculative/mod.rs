//! What workers are about to hold: prompts that were sent there a moment ago, and of which no event has come yet.

mod prompt;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use self::prompt::Prompt;
use self::shard::Shard;
use super::Overlap;
use crate::WorkerId;
use crate::hash::Chain;

/// Among how many locks the workers are shared out.
const SHARDS: usize = 64;

/// The limits of what is [`Expected`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExpectedSettings {
    /// How many prompts can be expected at once. Default: 65,536.
    pub max_prompts: usize,
    /// How many blocks they can have together, of 8 bytes each. Default: 4,194,304.
    pub max_blocks: usize,
}

impl Default for ExpectedSettings {
    fn default() -> Self {
        Self { max_prompts: 1 << 16, max_blocks: 1 << 22 }
    }
}

impl ExpectedSettings {
    /// The same, with this limit to how many prompts there are.
    #[must_use]
    pub fn with_max_prompts(self, max_prompts: usize) -> Self {
        Self { max_prompts, ..self }
    }

    /// The same, with this limit to how many blocks they have.
    #[must_use]
    pub fn with_max_blocks(self, max_blocks: usize) -> Self {
        Self { max_blocks, ..self }
    }
}

/// What workers are about to hold, since it was sent to them: laid over an index, which knows what they do hold.
///
/// A prompt that goes to a worker is expected there until its deadline: the blocks behind those that the index says are
/// held already. No event ends it earlier, and none needs to: what the index knows by then is the longer prefix. So a
/// prefix goes on from what is held through what is expected, and ends where neither has the next block.
///
/// Any thread may ask and any may expect; nothing goes through the index's writer. Asking takes one atomic load when
/// nothing is expected, and otherwise one of the locks among which the workers are shared out, for reading. When a limit
/// is reached, the prompts of the same shard go first whose time is up first; they are [counted](Self::dropped).
///
/// ```
/// use std::time::Duration;
/// use llmd_core::WorkerId;
/// use llmd_core::hash::{BlockHasher, HashKey, Namespace};
/// use llmd_core::index::{Expected, ExpectedSettings};
///
/// let (expected, hasher) = (Expected::new(ExpectedSettings::default()), BlockHasher::new(HashKey::random(), 2));
/// let chain = hasher.chain(&[1, 2, 3, 4, 5, 6], &Namespace::default());
/// let at = Duration::from_secs;
///
/// // The index says that worker 7 holds the first block; the rest is on its way.
/// expected.expect(WorkerId(7), &chain, 1, at(0), at(2));
/// assert_eq!(expected.leading(WorkerId(7), &chain, 1, at(1)), 3);
/// // The first block is gone: what is expected hangs in the air.
/// assert_eq!(expected.leading(WorkerId(7), &chain, 0, at(1)), 0);
/// // Its time is up.
/// assert_eq!(expected.leading(WorkerId(7), &chain, 1, at(2)), 1);
/// ```
pub struct Expected {
    settings: ExpectedSettings,
    /// When the last deadline is, in nanoseconds: from then on nothing is expected.
    until: AtomicU64,
    prompts: AtomicUsize,
    blocks: AtomicUsize,
    dropped: AtomicU64,
    shards: Box<[RwLock<Shard>]>,
}

// Orderings: all counts are told for people or bound memory, and guard nothing. `until` is raised before the lock of the
// shard is released; whoever must see a prompt has synchronised with whoever expected it, by whatever it knows that by.
impl Expected {
    /// Nothing is expected.
    pub fn new(settings: ExpectedSettings) -> Self {
        Self {
            settings,
            until: AtomicU64::new(0),
            prompts: AtomicUsize::new(0),
            blocks: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }

    /// A prompt goes to a worker that holds its first `from` blocks: the others are expected there for `ttl`.
    pub fn expect(&self, worker: WorkerId, chain: &Chain, from: u32, now: Duration, ttl: Duration) {
        let deadline = now.saturating_add(ttl);
        let Some(prompt) = Prompt::new(worker, chain.blocks(), from as usize, deadline) else { return };
        self.prompts.fetch_add(1, Ordering::Relaxed);
        self.blocks.fetch_add(prompt.size(), Ordering::Relaxed);
        let mut shard = self.shard(worker).write();
        shard.add(prompt);
        self.until.fetch_max(nanos(deadline), Ordering::Relaxed);
        while let Some(size) = shard.pop_ended(now) {
            self.count_out(size);
        }
        while self.is_over() {
            let Some(size) = shard.pop() else { break };
            self.count_out(size);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many leading blocks a worker holds or is expected to hold, of which it holds `held`.
    pub fn leading(&self, worker: WorkerId, chain: &Chain, held: u32, now: Duration) -> u32 {
        if self.is_idle(now) {
            return held;
        }
        self.shard(worker).read().leading(worker, chain.blocks(), held as usize, now) as u32
    }

    /// Tells `found` of each worker that is expected to hold more of `chain` than `overlap` says, and how many leading
    /// blocks it holds or is expected to hold. A lock is held meanwhile: `found` must not expect anything.
    pub fn extend(&self, chain: &Chain, overlap: &Overlap, now: Duration, found: &mut impl FnMut(WorkerId, u32)) {
        if self.is_idle(now) {
            return;
        }
        for shard in &self.shards {
            let shard = shard.read();
            for worker in shard.workers() {
                let held = overlap.leading(worker);
                let leading = shard.leading(worker, chain.blocks(), held as usize, now) as u32;
                if leading > held {
                    found(worker, leading);
                }
            }
        }
    }

    /// Expects nothing of a worker any more, as when its engine was started anew.
    pub fn forget(&self, worker: WorkerId) {
        let mut shard = self.shard(worker).write();
        while let Some(size) = shard.pop_of(worker) {
            self.count_out(size);
        }
    }

    /// Gives back the memory of prompts whose time is up. [`expect`](Self::expect) does so for the worker's neighbours by
    /// itself.
    pub fn expire(&self, now: Duration) {
        for shard in &self.shards {
            let mut shard = shard.write();
            while let Some(size) = shard.pop_ended(now) {
                self.count_out(size);
            }
        }
    }

    /// How many prompts are kept, those included whose time is up and whose memory was not given back yet.
    pub fn len(&self) -> usize {
        self.prompts.load(Ordering::Relaxed)
    }

    /// Whether no prompt is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many prompts were dropped before their time, because a limit was reached.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.until.load(Ordering::Relaxed) <= nanos(now)
    }

    fn is_over(&self) -> bool {
        let ExpectedSettings { max_prompts, max_blocks } = self.settings;
        self.len() > max_prompts || self.blocks.load(Ordering::Relaxed) > max_blocks
    }

    fn count_out(&self, size: usize) {
        self.prompts.fetch_sub(1, Ordering::Relaxed);
        self.blocks.fetch_sub(size, Ordering::Relaxed);
    }

    /// By worker: names of blocks decide nothing that another could see in the time that an answer takes.
    fn shard(&self, worker: WorkerId) -> &RwLock<Shard> {
        &self.shards[worker.0 as usize % SHARDS]
    }
}

/// As nanoseconds; whatever does not fit is for ever.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prompts, dropped) = (self.len(), self.dropped());
        f.debug_struct("Expected").field("prompts", &prompts).field("dropped", &dropped).finish_non_exhaustive()
    }
}
