//! Who holds which block: for a prompt, how many leading blocks each worker holds, and why not more.
//!
//! An index has one writer, which is fed with KV events, and any number of readers, which never block. What it holds is
//! counted in copies: an engine may store a block several times and removes each copy by itself.
//!
//! ```
//! use llmd_core::event::{BlockStored, KvEvent};
//! use llmd_core::hash::Namespace;
//! use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, PrefixIndex as _};
//! use llmd_core::{ExternalBlockHash, WorkerId};
//!
//! let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(4));
//!
//! // What an engine says, as `event::decode_batch` reads it.
//! let mut stored = BlockStored::default();
//! stored.block_hashes = vec![ExternalBlockHash::from_int(17), ExternalBlockHash::from_int(18)];
//! stored.token_ids = vec![1, 2, 3, 4, 5, 6, 7, 8];
//! stored.block_size = 4;
//! writer.apply(WorkerId(0), 1000.0, &[KvEvent::BlockStored(stored)]);
//!
//! // Who holds this prompt? A reader can be cloned into any thread.
//! let chain = reader.hasher().chain(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &Namespace::default());
//! assert_eq!(reader.query(&chain).leading(WorkerId(0)), 2);
//! assert_eq!(chain.hit_tokens(2), 8);
//! println!("{}", reader.explain(&chain));
//! ```

mod approximate;
mod exact;
mod explain;
mod groups;
mod overlap;
mod roster;
mod settings;
mod snapshot;
mod span;
mod speculative;
mod stats;
mod table;

use std::fmt::Debug;

pub use approximate::{ApproximateIndex, ApproximateSettings, Counting};
pub use exact::{ExactIndex, ExactReader, ExactWriter};
pub use explain::{BlockFate, Explanation, WorkerExplanation};
pub use overlap::{Iter, Overlap, WorkerOverlap};
pub use settings::IndexSettings;
pub use snapshot::Standing;
pub use speculative::{Expected, ExpectedSettings};
pub use stats::{Held, IndexStats};

use crate::event::KvEvent;
use crate::hash::{BlockHasher, Chain};
pub use crate::state::WorkerState;
use crate::{ExternalBlockHash, GroupIdx, Medium, WorkerId};

/// Answers who holds a prompt. A reader is cheap to clone, may live in any thread and never blocks.
///
/// An implementation is correct when `testing::reader` says so, and `testing::index` together with its writer.
pub trait PrefixIndex: Debug + Send + Sync {
    /// Hashes prompts as this index does.
    fn hasher(&self) -> &BlockHasher;

    /// Writes into `overlap` how many leading blocks each worker holds; a worker that holds none is left out.
    fn query_into(&self, chain: &Chain, overlap: &mut Overlap);

    /// How far the answers about a worker can be trusted.
    fn state(&self, worker: WorkerId) -> WorkerState;

    /// The same of many workers, in their order.
    fn states_into(&self, workers: &mut dyn Iterator<Item = WorkerId>, states: &mut Vec<WorkerState>) {
        states.clear();
        states.extend(workers.map(|worker| self.state(worker)));
    }

    /// Where each worker's prefix ends, and why.
    fn explain(&self, chain: &Chain) -> Explanation;

    /// How many leading blocks each worker holds; a worker that holds none is left out.
    fn query(&self, chain: &Chain) -> Overlap {
        let mut overlap = Overlap::default();
        self.query_into(chain, &mut overlap);
        overlap
    }
}

/// Takes what engines say. One writer feeds an index.
///
/// An implementation is correct when `testing::index` says so.
pub trait IndexWriter: Debug + Send {
    /// Takes the events of one batch, in order. `timestamp` is the batch's, for [`Explanation`]s.
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied;

    /// Sets how far the answers about a worker can be trusted. A new worker is [`WorkerState::Recovering`].
    fn set_state(&mut self, worker: WorkerId, state: WorkerState);

    /// Forgets every block of a worker, and nothing else about it.
    fn clear(&mut self, worker: WorkerId);

    /// Forgets a worker.
    fn remove_worker(&mut self, worker: WorkerId);

    /// What a worker holds, in no particular order, as its engine names it: for comparison with the engine's own list.
    fn residents(&self, worker: WorkerId) -> Vec<Resident>;
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// Copies that were added.
    pub stored: usize,
    /// Copies that were taken away.
    pub removed: usize,
    /// Blocks that wait for their parent, counted in `stored` too.
    pub orphaned: usize,
    /// Removals of blocks that were not held: a sign that events were lost.
    pub unknown_removals: usize,
    /// Blocks that were dropped because a limit was reached.
    pub dropped: usize,
}

/// A block that a worker holds.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "these four are what identifies and counts a resident block")]
pub struct Resident {
    /// The KV-cache group.
    pub group: GroupIdx,
    /// What it lies on.
    pub medium: Medium,
    /// The engine's name for it.
    pub block: ExternalBlockHash,
    /// How many copies there are.
    pub copies: u32,
}
