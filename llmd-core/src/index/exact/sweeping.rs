//! Cleaning up little by little: columns that were given up, and names that nothing in the index has any longer.

use std::collections::VecDeque;

use super::ExactWriter;
use super::context::GivenUp;
use super::interned::Interned;
use crate::WorkerId;

/// How many runs are looked at after each batch, as long as there is something to clean up.
const RUNS: usize = 256;

/// How many names whose blocks are gone still lead back to what engines call them.
const MAX_FADING: usize = 1 << 16;

/// Names that are byte strings and whose blocks are gone, oldest first.
#[derive(Debug, Default)]
pub(super) struct Fading(VecDeque<u64>);

impl Fading {
    fn push(&mut self, gone: Vec<u64>, interned: &mut Interned, is_known: impl Fn(u64) -> bool) {
        self.0.extend(gone);
        while self.0.len() > MAX_FADING {
            let Some(name) = self.0.pop_front() else { return };
            if !is_known(name) {
                interned.forget(name);
            }
        }
    }
}

impl ExactWriter {
    pub(super) fn sweep(&mut self) {
        if !self.interned.is_empty() {
            let gone = self.span.take_gone();
            let span = &self.span;
            self.fading.push(gone, &mut self.interned, |name| span.has_shared(name));
        }
        if self.span.is_swept() {
            return;
        }
        let (mut gone, mut done) = (Vec::new(), Vec::new());
        let (workers, given_up) = (&self.workers, &self.given_up);
        self.span.sweep(
            RUNS,
            |span, swept| {
                let Some(given) = given_up.get(&swept.column).filter(|given| given.order > 0) else { return };
                let Some(worker) = workers.get(&given.worker) else { return };
                gone.extend(worker.swept(given, swept, span).into_iter().map(|block| (given.worker, block)));
            },
            |column| done.push(column),
        );
        let of: Vec<WorkerId> = done.iter().filter_map(|column| Some(self.given_up.get(column)?.worker)).collect();
        gone.sort_by_key(|&(worker, _)| worker);
        for group in gone.chunk_by(|(one, _), (other, _)| one == other) {
            self.work(group[0].0, 0.0, |worker, cx| worker.remember(group.iter().map(|&(_, block)| block), cx));
        }
        for (column, worker) in done.into_iter().zip(of) {
            let given: Option<GivenUp> = self.given_up.remove(&column);
            if let Some(known) = self.workers.get_mut(&worker)
                && given.is_some()
            {
                known.is_swept(column);
            }
        }
    }
}
