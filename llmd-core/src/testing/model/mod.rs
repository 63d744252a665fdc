//! The index as one would explain it: slow, and obviously right.
//!
//! It defines what every other index answers:
//!
//! - An index's blocks are of `block_size` tokens. A name of an engine covers one or several of them, its *span*, as
//!   many as its event's `block_size` is a multiple of the index's; it stands at the last. Other sizes are not placed.
//! - A name has its place from events that say what is in a block, of full-attention groups. Sparse groups (sliding
//!   window, recurrent state) name blocks by the same hash, so what they hold stands where the full group's stands.
//! - A worker whose groups are all full, with spans that are all the same, answers with the blocks that all its groups
//!   hold. Every other worker answers with what its engine's lookup would take: see `rules.rs`.
//! - What lies on `STORAGE` that is `REMOTE` is the pool's, there or not, as the last word of any worker has it.

mod answer;
mod content;
mod rules;
mod said;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use self::answer::Asked;
use self::said::Said;
use crate::event::{BlockRemoved, BlockStored, KvEvent};
use crate::hash::{BlockHasher, Chain};
use crate::index::{
    Applied, BlockFate, Explanation, IndexSettings, IndexWriter, Overlap, PrefixIndex, Resident, WorkerState,
};
use crate::{BlockHash, ExternalBlockHash, GroupIdx, Locality, Medium, WorkerId};

/// The exact index without limits: it keeps every word the engines said, and works an answer out when it is asked.
///
/// Clones are the same index, so one is the writer and the others are readers.
#[derive(Clone, Debug)]
pub struct ModelIndex {
    hasher: BlockHasher,
    fleet: Arc<Mutex<Fleet>>,
}

#[derive(Debug, Default)]
struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    /// What lies on the storage that all share.
    pool: BTreeSet<BlockHash>,
}

#[derive(Debug, Default)]
struct Worker {
    state: WorkerState,
    said: Said,
    /// What became of the blocks of names whose last copy went.
    fates: BTreeMap<BlockHash, BlockFate>,
}

impl ModelIndex {
    /// An empty model. Of the settings, only the block size and the key matter.
    ///
    /// # Panics
    ///
    /// When `settings.block_size` is 0.
    pub fn new(settings: IndexSettings) -> Self {
        Self { hasher: BlockHasher::new(settings.key, settings.block_size), fleet: Arc::default() }
    }
}

/// Whether what lies there is not the worker's own.
fn is_the_pools(medium: Medium, locality: Locality) -> bool {
    medium == Medium::Storage && locality == Locality::Remote
}

impl Fleet {
    fn store(&mut self, worker: WorkerId, stored: &BlockStored, hasher: &BlockHasher, applied: &mut Applied) {
        let said = &mut self.workers.entry(worker).or_default().said;
        applied.orphaned += said.take(stored, hasher);
        if !is_the_pools(stored.medium, stored.locality) {
            for name in &stored.block_hashes {
                *said.copies.entry((name.clone(), stored.group_idx, stored.medium)).or_default() += 1;
                applied.stored += 1;
            }
        } else if stored.spec_kind.is_full() {
            for name in &stored.block_hashes {
                let is_there = match said.place(name, hasher) {
                    Some(place) => place.covered().iter().all(|block| self.pool.contains(block)),
                    None => said.waiting.contains(name),
                };
                said.waiting.insert(name.clone());
                applied.stored += usize::from(!is_there);
                said.pour(&mut self.pool, hasher);
            }
        }
        said.compare_names(hasher);
        said.pour(&mut self.pool, hasher);
    }

    fn remove(
        &mut self,
        worker: WorkerId,
        at: f64,
        removed: &BlockRemoved,
        hasher: &BlockHasher,
        applied: &mut Applied,
    ) {
        let worker = self.workers.entry(worker).or_default();
        for name in &removed.block_hashes {
            if is_the_pools(removed.medium, removed.locality) {
                if !worker.said.is_sparse(removed.group_idx) {
                    let place = worker.said.place(name, hasher);
                    let gone =
                        place.map_or(0, |place| place.covered().iter().filter(|block| self.pool.remove(block)).count());
                    applied.removed += usize::from(worker.said.waiting.remove(name) || gone > 0);
                }
                continue;
            }
            let key = (name.clone(), removed.group_idx, removed.medium);
            match worker.remove(&key, false, BlockFate::Evicted { at }, hasher) {
                0 => applied.unknown_removals += 1,
                _ => applied.removed += 1,
            }
        }
    }
}

impl Worker {
    /// Takes away one copy, or all; says how many that were.
    fn remove(
        &mut self,
        key: &(ExternalBlockHash, GroupIdx, Medium),
        all: bool,
        fate: BlockFate,
        hasher: &BlockHasher,
    ) -> u32 {
        let copies = &mut self.said.copies;
        let Some(held) = copies.get_mut(key) else { return 0 };
        let removed = if all { *held } else { 1 };
        *held -= removed;
        copies.retain(|_, copies| *copies > 0);
        if !copies.keys().any(|(name, ..)| *name == key.0)
            && let Some(place) = self.said.place(&key.0, hasher)
        {
            // A full group holds all that a name covers, any other the end of it.
            let is_full = self.said.full_groups().any(|group| group == key.1);
            let went = if is_full { place.covered() } else { &[place.at()] };
            self.fates.extend(went.iter().map(|&block| (block, fate)));
        }
        removed
    }

    fn remove_all(&mut self, media: &[Medium], hasher: &BlockHasher) -> u32 {
        let mut keys: Vec<_> = self.said.copies.keys().filter(|(.., medium)| media.contains(medium)).cloned().collect();
        // All go at once, so the group that holds most of what a name covers decides what is said of it.
        let full: Vec<_> = self.said.full_groups().collect();
        keys.sort_by_key(|(_, group, _)| full.contains(group));
        keys.iter().map(|key| self.remove(key, true, BlockFate::Cleared, hasher)).sum()
    }

    fn state(&self, hasher: &BlockHasher) -> WorkerState {
        match self.state {
            WorkerState::Exact if !self.said.is_complete(hasher) => WorkerState::Approximate,
            state => state,
        }
    }
}

impl IndexWriter for ModelIndex {
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied {
        let mut fleet = self.fleet.lock();
        let mut applied = Applied::default();
        fleet.workers.entry(worker).or_default();
        for event in events {
            match event {
                KvEvent::AllBlocksCleared => {
                    let known = fleet.workers.entry(worker).or_default();
                    applied.removed += known.remove_all(&[Medium::Gpu], &self.hasher) as usize;
                }
                KvEvent::BlockRemoved(removed) => {
                    fleet.remove(worker, timestamp, removed, &self.hasher, &mut applied);
                }
                KvEvent::BlockStored(stored) => fleet.store(worker, stored, &self.hasher, &mut applied),
            }
        }
        applied
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.fleet.lock().workers.entry(worker).or_default().state = state;
    }

    fn clear(&mut self, worker: WorkerId) {
        if let Some(worker) = self.fleet.lock().workers.get_mut(&worker) {
            worker.remove_all(&Medium::ALL, &self.hasher);
            worker.said = Said::default();
        }
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        self.fleet.lock().workers.remove(&worker);
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        let fleet = self.fleet.lock();
        let copies = fleet.workers.get(&worker).into_iter().flat_map(|worker| &worker.said.copies);
        let resident = |((block, group, medium), &copies): (&(ExternalBlockHash, _, _), &u32)| Resident {
            group: *group,
            medium: *medium,
            block: block.clone(),
            copies,
        };
        copies.map(resident).collect()
    }
}

impl PrefixIndex for ModelIndex {
    fn hasher(&self) -> &BlockHasher {
        &self.hasher
    }

    fn query_into(&self, chain: &Chain, overlap: &mut Overlap) {
        let fleet = self.fleet.lock();
        let asked = Asked::new(chain, &fleet.pool, &self.hasher);
        let held = fleet.workers.iter().map(|(&id, worker)| asked.explain(id, worker).overlap);
        overlap.fill(held.filter(|overlap| overlap.leading > 0));
        overlap.set_shared(asked.shared());
    }

    fn state(&self, worker: WorkerId) -> WorkerState {
        self.fleet.lock().workers.get(&worker).map(|worker| worker.state(&self.hasher)).unwrap_or_default()
    }

    fn explain(&self, chain: &Chain) -> Explanation {
        let fleet = self.fleet.lock();
        let asked = Asked::new(chain, &fleet.pool, &self.hasher);
        Explanation::new(chain, fleet.workers.iter().map(|(&id, worker)| asked.explain(id, worker)))
    }
}

/// Without the reasons that [`ModelIndex`] does not know: it says `NeverStored` for each of them.
pub fn plainly(mut explanation: Explanation) -> Explanation {
    for worker in &mut explanation.workers {
        worker.next = worker.next.map(|fate| match fate {
            BlockFate::OtherBlockSize { .. } | BlockFate::OtherNamespace | BlockFate::Unheard => BlockFate::NeverStored,
            told => told,
        });
    }
    explanation
}
