//! What was sent to each worker last, and what is believed to be left of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lru::Lru;
use super::{ApproximateSettings, Counting};
use crate::index::table::{Media, Table};
use crate::index::{Held, IndexStats};
use crate::{BlockHash, WorkerId};

/// How often, in its time to live, blocks that are too old are looked for at workers that nothing is sent to.
const SWEEPS_PER_TTL: u32 = 8;

/// What was sent to each worker last. Whatever is changed here is changed in the table of the readers too.
#[derive(Debug)]
pub(super) struct Memory {
    settings: ApproximateSettings,
    workers: BTreeMap<WorkerId, Used>,
    next_sweep: Duration,
    /// How often something was recorded or resized.
    turns: u64,
    dropped: u64,
}

/// What was sent to one worker last.
#[derive(Debug)]
struct Used {
    blocks: Lru,
    /// The turn in which it was last heard of.
    turn: u64,
}

impl Memory {
    pub(super) const fn new(settings: &ApproximateSettings) -> Self {
        Self { settings: *settings, workers: BTreeMap::new(), next_sweep: Duration::ZERO, turns: 0, dropped: 0 }
    }

    /// Uses the blocks of a prompt, of which the one that is used first is forgotten first.
    pub(super) fn record(&mut self, worker: WorkerId, chain: &[BlockHash], now: Duration, table: &Table) {
        if self.settings.ttl.is_some() && self.next_sweep <= now {
            self.expire(now, table);
        }
        let ApproximateSettings { capacity, counting, .. } = self.settings;
        let Some(used) = self.worker(worker, capacity, table) else {
            self.dropped += chain.len() as u64;
            return;
        };
        let kept = &chain[..chain.len().min(used.capacity())];
        let touch = |&block| {
            if used.touch(block, now) {
                table.change(block, worker, Media::NONE, Media::GPU);
            }
        };
        match counting {
            Counting::AsLlmd => kept.iter().for_each(touch),
            Counting::Leading => kept.iter().rev().for_each(touch),
        }
        forget(worker, table, || used.pop());
    }

    pub(super) fn set_capacity(&mut self, worker: WorkerId, blocks: usize, table: &Table) {
        if let Some(used) = self.worker(worker, blocks, table) {
            used.set_capacity(blocks);
            forget(worker, table, || used.pop());
        }
    }

    /// Forgets what was used too long ago.
    pub(super) fn expire(&mut self, now: Duration, table: &Table) {
        let Some(ttl) = self.settings.ttl else { return };
        self.next_sweep = now.saturating_add(ttl / SWEEPS_PER_TTL);
        for (&worker, used) in &mut self.workers {
            forget(worker, table, || used.blocks.pop_used_by(now.checked_sub(ttl)?));
        }
    }

    /// Forgets a worker; says how many blocks it had.
    pub(super) fn remove(&mut self, worker: WorkerId, table: &Table) -> u64 {
        let Some(mut used) = self.workers.remove(&worker) else { return 0 };
        used.blocks.set_capacity(0);
        forget(worker, table, || used.blocks.pop())
    }

    pub(super) fn workers(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }

    pub(super) fn stats(&self) -> IndexStats {
        let residents = self.workers.values().map(|used| used.blocks.len()).sum();
        let bytes = self.workers.values().map(|used| used.blocks.bytes()).sum();
        let held = Held { residents, ..Held::default() };
        IndexStats { workers: self.workers.len(), held, dropped: self.dropped, bytes, ..IndexStats::default() }
    }

    /// The blocks of a worker, which is made if it is new, at the cost of the one that was not heard of for longest; `None`
    /// when there can be no worker at all.
    fn worker(&mut self, worker: WorkerId, capacity: usize, table: &Table) -> Option<&mut Lru> {
        self.turns += 1;
        if !self.workers.contains_key(&worker) && self.workers.len() >= self.settings.max_workers {
            let (&idle, _) = self.workers.iter().min_by_key(|(_, used)| used.turn)?;
            self.dropped += self.remove(idle, table);
        }
        let new = || Used { blocks: Lru::new(capacity), turn: 0 };
        let used = self.workers.entry(worker).or_insert_with(new);
        used.turn = self.turns;
        Some(&mut used.blocks)
    }
}

/// Takes blocks of a worker out of the table until there is no next one; says how many.
fn forget(worker: WorkerId, table: &Table, mut next: impl FnMut() -> Option<BlockHash>) -> u64 {
    let mut forgotten = 0;
    while let Some(block) = next() {
        table.change(block, worker, Media::GPU, Media::NONE);
        forgotten += 1;
    }
    forgotten
}
