//! The index as one would explain it: slow, and obviously right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::event::{BlockStored, KvEvent};
use crate::hash::{BlockHasher, Chain, HashScheme as _, event_extra_keys};
use crate::index::{
    Applied, BlockFate, Explanation, IndexSettings, IndexWriter, Overlap, PrefixIndex, Resident, WorkerExplanation,
    WorkerOverlap, WorkerState,
};
use crate::{BlockHash, ExternalBlockHash, GroupIdx, Medium, WorkerId};

/// The exact index without limits: it keeps every word the engines said, and works an answer out when it is asked.
///
/// Clones are the same index, so one is the writer and the others are readers.
#[derive(Clone, Debug)]
pub struct ModelIndex {
    hasher: BlockHasher,
    workers: Arc<Mutex<BTreeMap<WorkerId, Worker>>>,
}

#[derive(Debug, Default)]
struct Worker {
    state: WorkerState,
    copies: BTreeMap<(ExternalBlockHash, GroupIdx, Medium), u32>,
    /// The first event that said what is in a block, and which of its blocks that is.
    content: BTreeMap<ExternalBlockHash, (Arc<BlockStored>, usize)>,
    full_groups: BTreeSet<GroupIdx>,
    said_what_cannot_be_placed: bool,
    fates: BTreeMap<BlockHash, BlockFate>,
}

impl ModelIndex {
    /// An empty model. Of the settings, only the block size and the key matter.
    ///
    /// # Panics
    ///
    /// When `settings.block_size` is 0.
    pub fn new(settings: IndexSettings) -> Self {
        Self { hasher: BlockHasher::new(settings.key, settings.block_size), workers: Arc::default() }
    }
}

impl Worker {
    fn store(&mut self, stored: &Arc<BlockStored>, hasher: &BlockHasher, applied: &mut Applied) {
        let size = hasher.block_size();
        let count = stored.block_hashes.len();
        let keys_fit = [0, count].contains(&stored.extra_keys.len());
        let names_only = stored.token_ids.is_empty() || (stored.medium != Medium::Gpu && stored.extra_keys.is_empty());
        let fits = stored.block_size as usize == size && stored.token_ids.len() == size * count && keys_fit;
        if !stored.spec_kind.is_full() || !(names_only || count == 0 || fits) {
            self.said_what_cannot_be_placed = true;
        } else if !names_only && count > 0 {
            self.full_groups.insert(stored.group_idx);
            for (block, name) in stored.block_hashes.iter().enumerate() {
                if !self.content.contains_key(name) {
                    self.content.insert(name.clone(), (Arc::clone(stored), block));
                    applied.orphaned += usize::from(self.place(name, hasher).is_none());
                }
            }
        }
        for name in &stored.block_hashes {
            *self.copies.entry((name.clone(), stored.group_idx, stored.medium)).or_default() += 1;
            applied.stored += 1;
        }
    }

    /// Takes away one copy, or all; says how many that were.
    fn remove(
        &mut self,
        key: &(ExternalBlockHash, GroupIdx, Medium),
        all: bool,
        fate: BlockFate,
        hasher: &BlockHasher,
    ) -> u32 {
        let Some(copies) = self.copies.get_mut(key) else { return 0 };
        let removed = if all { *copies } else { 1 };
        *copies -= removed;
        self.copies.retain(|_, copies| *copies > 0);
        if !self.copies.keys().any(|(name, ..)| *name == key.0) {
            self.fates.extend(self.place(&key.0, hasher).map(|block| (block, fate)));
        }
        removed
    }

    fn remove_all(&mut self, media: &[Medium], hasher: &BlockHasher) -> u32 {
        let keys: Vec<_> = self.copies.keys().filter(|(.., medium)| media.contains(medium)).cloned().collect();
        keys.iter().map(|key| self.remove(key, true, BlockFate::Cleared, hasher)).sum()
    }

    /// Our name for a block, if the engine has said what is in it and in every block before it.
    fn place(&self, name: &ExternalBlockHash, hasher: &BlockHasher) -> Option<BlockHash> {
        let mut path = Vec::new();
        let mut next = Some(name);
        while let Some(name) = next {
            let (stored, block) = self.content.get(name).filter(|_| path.len() < self.content.len())?;
            path.push((stored, *block));
            next = match block {
                0 => stored.parent_block_hash.as_ref(),
                _ => Some(&stored.block_hashes[block - 1]),
            };
        }
        let blocks = path.into_iter().rev().enumerate();
        Some(blocks.fold(hasher.scheme().root(), |parent, (position, (stored, block))| {
            let tokens = &stored.token_ids[block * hasher.block_size()..][..hasher.block_size()];
            let adapter = stored.adapter();
            let extra = event_extra_keys(stored, block, adapter.as_deref());
            hasher.scheme().next(&parent, position, tokens, &extra)
        }))
    }

    /// The media that each block lies on, in every full-attention group.
    fn blocks(&self, hasher: &BlockHasher) -> BTreeMap<BlockHash, BTreeSet<Medium>> {
        let mut blocks = BTreeMap::<_, BTreeSet<_>>::new();
        for (name, _, medium) in self.copies.keys() {
            let held = |&group: &GroupIdx| self.copies.contains_key(&(name.clone(), group, *medium));
            if let Some(block) = self.place(name, hasher)
                && self.full_groups.iter().all(held)
            {
                blocks.entry(block).or_default().insert(*medium);
            }
        }
        blocks
    }

    fn unplaced(&self) -> usize {
        self.copies.keys().filter(|(name, ..)| !self.content.contains_key(name)).count()
    }

    fn state(&self) -> WorkerState {
        match self.state {
            WorkerState::Exact if self.said_what_cannot_be_placed || self.unplaced() > 0 => WorkerState::Approximate,
            state => state,
        }
    }

    fn explain(&self, worker: WorkerId, chain: &Chain, hasher: &BlockHasher) -> WorkerExplanation {
        let blocks = self.blocks(hasher);
        let leading = |on: &dyn Fn(&BTreeSet<Medium>) -> bool| {
            let held = |block: &&BlockHash| blocks.get(block).is_some_and(on);
            u32::try_from(chain.blocks().iter().take_while(held).count()).expect("a prompt is short")
        };
        let mut overlap = WorkerOverlap::none(worker);
        overlap.leading = leading(&|media| !media.is_empty());
        overlap.leading_by_medium = Medium::ALL.map(|medium| leading(&|media| media.contains(&medium)));
        let missing = &chain.blocks()[overlap.leading as usize..];
        let mut explained = WorkerExplanation::new(overlap, self.state());
        explained.next = missing.first().map(|block| self.fates.get(block).copied().unwrap_or(BlockFate::NeverStored));
        explained.held_behind = missing.iter().filter(|block| blocks.contains_key(block)).count();
        explained.unplaced = self.unplaced();
        explained
    }
}

impl IndexWriter for ModelIndex {
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied {
        let mut workers = self.workers.lock();
        let worker = workers.entry(worker).or_default();
        let mut applied = Applied::default();
        for event in events {
            match event {
                KvEvent::AllBlocksCleared => {
                    applied.removed += worker.remove_all(&[Medium::Gpu], &self.hasher) as usize;
                }
                KvEvent::BlockRemoved(removed) => {
                    for name in &removed.block_hashes {
                        let key = (name.clone(), removed.group_idx, removed.medium);
                        match worker.remove(&key, false, BlockFate::Evicted { at: timestamp }, &self.hasher) {
                            0 => applied.unknown_removals += 1,
                            _ => applied.removed += 1,
                        }
                    }
                }
                KvEvent::BlockStored(stored) => {
                    worker.store(&Arc::new(stored.clone()), &self.hasher, &mut applied);
                }
            }
        }
        applied
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.workers.lock().entry(worker).or_default().state = state;
    }

    fn clear(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.lock().get_mut(&worker) {
            worker.remove_all(&Medium::ALL, &self.hasher);
            let (state, fates) = (worker.state, std::mem::take(&mut worker.fates));
            *worker = Worker { state, fates, ..Worker::default() };
        }
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        self.workers.lock().remove(&worker);
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        let workers = self.workers.lock();
        let copies = workers.get(&worker).into_iter().flat_map(|worker| &worker.copies);
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
        let explained = self.explain(chain).workers.into_iter().map(|worker| worker.overlap);
        overlap.fill(explained.filter(|overlap| overlap.leading > 0));
    }

    fn state(&self, worker: WorkerId) -> WorkerState {
        self.workers.lock().get(&worker).map(Worker::state).unwrap_or_default()
    }

    fn explain(&self, chain: &Chain) -> Explanation {
        let workers = self.workers.lock();
        Explanation::new(chain, workers.iter().map(|(&id, worker)| worker.explain(id, chain, &self.hasher)))
    }
}
