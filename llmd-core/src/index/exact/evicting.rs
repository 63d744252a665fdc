//! Keeping to the limit of what all workers hold together, a little after each batch.

use std::collections::BTreeMap;

use super::super::span::{Column, Dropped, Namer};
use super::ExactWriter;
use super::context::GivenUp;
use super::worker::Worker;
use crate::WorkerId;

/// How many runs are looked at after a batch, as long as there are too many blocks, and how many more for each block that
/// came with it.
const RUNS: usize = 256;
const RUNS_PER_BLOCK: usize = 8;

/// By how much more than `most` blocks there can be before nothing is stored any longer, for as long as it takes.
pub(super) const fn is_crowded(blocks: usize, most: usize) -> bool {
    blocks > most.saturating_add(most / 8).saturating_add(4096)
}

impl ExactWriter {
    /// Drops what nothing was stored in for longest, when there are too many blocks; so many came since the last time.
    pub(super) fn evict(&mut self, stored: usize) {
        let most = self.settings.max_blocks_in_all;
        if self.span.blocks() <= most {
            return;
        }
        self.give_up_pool();
        let (workers, given_up) = (&self.workers, &self.given_up);
        let span_of = |owner, column| {
            let kept = workers.get(&WorkerId(owner)).and_then(|worker| worker.span_of_column(column));
            kept.or_else(|| given_up.get(&column).map(|given| given.span)).unwrap_or(1)
        };
        let runs = stored.saturating_mul(RUNS_PER_BLOCK).saturating_add(RUNS);
        let mut lost = BTreeMap::<(u32, Column), Dropped>::new();
        self.span
            .evict(most, runs, span_of, |owner, column, dropped| *lost.entry((owner, column)).or_default() += dropped);
        for ((owner, column), dropped) in lost {
            let id = WorkerId(owner);
            if self.workers.get(&id).is_some_and(|worker| worker.span_of_column(column).is_some()) {
                self.stats.dropped += dropped.names as u64;
                self.work(id, 0.0, |worker, _| worker.lose(column, dropped));
            }
        }
    }

    /// What lies on the storage that all share is not kept any longer: names of it go with what is dropped, and what they
    /// mean could not be removed.
    fn give_up_pool(&mut self) {
        self.pool.is_given_up = true;
        let Some(column) = self.pool.column.take() else { return };
        (self.pool.is_news, self.pool.is_missed) = (true, true);
        self.pool.namer.columns.clear();
        let (worker, namer) = (WorkerId(u32::MAX), Namer::default());
        self.given_up.insert(column, GivenUp { worker, namer, order: 0, names_last: false, span: 1 });
        self.span.retire(column);
    }

    /// Lets all workers know that shared storage is missed.
    pub(super) fn tell_of_missed_pool(&mut self) {
        let all: Vec<_> = self.workers.values().filter(|worker| !worker.is_incomplete()).map(Worker::id).collect();
        all.into_iter().for_each(|id| self.work(id, 0.0, |_, _| ()));
    }
}
