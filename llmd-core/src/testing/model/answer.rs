//! What there is to say about one prompt.

use std::collections::{BTreeMap, BTreeSet};

use super::Worker;
use super::rules::{Lookup, Rule};
use super::said::Said;
use crate::hash::{BlockHasher, Chain};
use crate::index::{BlockFate, WorkerExplanation, WorkerOverlap};
use crate::{BlockHash, ExternalBlockHash, GroupIdx, Medium, WorkerId};

/// A prompt that is asked about.
pub(super) struct Asked<'a> {
    chain: &'a Chain,
    pool: &'a BTreeSet<BlockHash>,
    hasher: &'a BlockHasher,
}

impl<'a> Asked<'a> {
    pub(super) const fn new(chain: &'a Chain, pool: &'a BTreeSet<BlockHash>, hasher: &'a BlockHasher) -> Self {
        Self { chain, pool, hasher }
    }

    /// Leading blocks on the pool's storage alone.
    pub(super) fn shared(&self) -> u32 {
        blocks(self.run(|block| self.pool.contains(block)))
    }

    pub(super) fn explain(&self, id: WorkerId, worker: &Worker) -> WorkerExplanation {
        let mut overlap = WorkerOverlap::none(id);
        overlap.shared = self.shared();
        let (held, limited_by) = match worker.said.rule() {
            Rule::AllAlike { span } => (self.all_alike(span, &worker.said, &mut overlap), None),
            Rule::Lookup(lookup) => self.lookup(&lookup, &worker.said, &mut overlap),
        };
        let missing = &self.chain.blocks()[overlap.leading as usize..];
        let mut explained = WorkerExplanation::new(overlap, worker.state(self.hasher));
        let is_missing = |block: &&BlockHash| !held.contains(block);
        let fate = |block| worker.fates.get(block).copied().unwrap_or(BlockFate::NeverStored);
        explained.next = missing.first().filter(is_missing).map(fate);
        explained.limited_by = limited_by;
        explained.held_behind = missing.iter().filter(|block| held.contains(block)).count();
        explained.unplaced = worker.said.unplaced();
        explained
    }

    /// The leading blocks that every group holds, and with them the pool; gives the blocks that it holds itself.
    fn all_alike(&self, span: usize, said: &Said, overlap: &mut WorkerOverlap) -> BTreeSet<BlockHash> {
        let media = media(said, self.hasher);
        let whole = |run: usize| if span == 1 { run } else { run.min(self.limit()) / span * span };
        let leading = whole(self.run(|block| media.contains_key(block) || self.pool.contains(block)));
        if self.chain.blocks()[..leading].iter().any(|block| media.contains_key(block)) {
            overlap.leading = blocks(leading);
        }
        overlap.leading_by_medium = Medium::ALL.map(|medium| {
            blocks(whole(self.run(|block| media.get(block).is_some_and(|media| media.contains(&medium)))))
        });
        media.into_keys().collect()
    }

    /// What the engine takes from its GPU; gives the blocks that all full groups hold there.
    fn lookup(
        &self,
        lookup: &Lookup<'_>,
        said: &Said,
        overlap: &mut WorkerOverlap,
    ) -> (BTreeSet<BlockHash>, Option<GroupIdx>) {
        let mut at = BTreeSet::new();
        let mut covered = BTreeMap::<BlockHash, BTreeSet<GroupIdx>>::new();
        for (name, group, _) in said.copies.keys().filter(|(.., medium)| *medium == Medium::Gpu) {
            let Some(place) = said.place(name, self.hasher) else { continue };
            at.insert((*group, place.at()));
            for block in place.covered() {
                covered.entry(*block).or_default().insert(*group);
            }
        }
        let hit = lookup.hit(self.limit(), self.hasher.block_size(), |group, end| {
            let holds = |name: &ExternalBlockHash| said.copies.contains_key(&(name.clone(), group, Medium::Gpu));
            at.contains(&(group, self.chain.blocks()[end - 1])) || self.chain.names().get(end - 1).is_some_and(holds)
        });
        overlap.leading = blocks(hit.blocks);
        overlap.leading_by_medium[Medium::Gpu.index()] = overlap.leading;
        let held = covered.into_iter().filter(|(_, groups)| said.full_groups().all(|group| groups.contains(&group)));
        (held.map(|(block, _)| block).collect(), hit.limited_by)
    }

    fn run(&self, held: impl Fn(&BlockHash) -> bool) -> usize {
        self.chain.blocks().iter().take_while(|block| held(block)).count()
    }

    /// How many blocks a hit can have: an engine always computes the last token.
    fn limit(&self) -> usize {
        self.chain.tokens().saturating_sub(1) / self.hasher.block_size()
    }
}

/// The media on which every full-attention group holds a block, under whatever name.
fn media(said: &Said, hasher: &BlockHasher) -> BTreeMap<BlockHash, BTreeSet<Medium>> {
    let mut held = BTreeMap::<_, BTreeSet<GroupIdx>>::new();
    for (name, group, medium) in said.copies.keys() {
        let place = said.place(name, hasher);
        for block in place.iter().flat_map(|place| place.covered()) {
            held.entry((*block, *medium)).or_default().insert(*group);
        }
    }
    let mut media = BTreeMap::<_, BTreeSet<_>>::new();
    for ((block, medium), groups) in held {
        if said.full_groups().all(|group| groups.contains(&group)) {
            media.entry(block).or_default().insert(medium);
        }
    }
    media
}

fn blocks(blocks: usize) -> u32 {
    u32::try_from(blocks).expect("a prompt is short")
}
