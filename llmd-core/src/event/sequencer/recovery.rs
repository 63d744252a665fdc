//! What a sequencer does about what is missing: asks for it, waits, makes do, or begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

use super::applied::{Applied, Place};
use super::{Numbered, ReplayId, Sequencer, Step};
use crate::state::WorkerState;

/// A replay under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) id: ReplayId,
    pub(super) anchor: Option<(u64, u64)>,
    pub(super) purpose: Purpose,
    pub(super) next_when_asked: u64,
    pub(super) answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Purpose {
    /// What follows the anchor: something is missing, or the engine has not proven itself.
    CatchUp,
    /// The same, though nothing says that something is missing.
    Probe,
    /// Everything from the first batch on.
    Rebuild,
}

impl<B> Sequencer<B> {
    /// Forgets what depends on the connection.
    pub(super) fn hang_up(&mut self) {
        self.waiting.clear();
        self.seen = None;
        self.asked = None;
        self.wake = None;
        self.proven = false;
    }

    pub(super) fn ask(&mut self, purpose: Purpose) {
        let anchor = self.applied.last().filter(|_| purpose != Purpose::Rebuild);
        if anchor.is_none() {
            self.proven = false;
        }
        self.last_id += 1;
        let id = ReplayId(self.last_id);
        self.asked = Some(Asked { id, anchor, purpose, next_when_asked: self.applied.next(), answered: false });
        self.seen = None;
        self.wake = None;
        self.counts.replays += 1;
        self.steps.push_back(Step::Replay { id, from: anchor.map_or(0, |(seq, _)| seq) });
    }

    /// A gap must be filled: by the replay under way, by the one that waits for its turn, or by a new one.
    pub(super) fn ask_unless_under_way(&mut self) {
        match &mut self.asked {
            Some(asked) => asked.purpose = Purpose::CatchUp,
            None if self.attempts == 0 || self.gave_up => self.ask(Purpose::CatchUp),
            None => {}
        }
    }

    pub(super) fn prove(&mut self) {
        self.proven = true;
        self.drain();
    }

    pub(super) fn next_reply(&mut self, now: Duration, batch: Numbered<B>) {
        match self.applied.place(batch.seq, batch.fingerprint) {
            Place::Next => {
                self.apply(batch);
                self.drain();
            }
            Place::Known | Place::Past => self.counts.duplicates += 1,
            Place::Differs => self.restarted(),
            Place::Ahead => {
                if let Some(asked) = self.asked.take() {
                    self.try_again(now, &asked);
                }
            }
        }
    }

    pub(super) fn caught_up(&mut self, now: Duration, asked: &Asked) {
        self.gave_up = false;
        self.drain();
        if self.behind() && self.applied.next() == asked.next_when_asked {
            return self.try_again(now, asked);
        }
        self.attempts = 0;
        if self.behind() {
            self.ask(Purpose::CatchUp);
        } else if !self.complete && !self.forgotten {
            self.ask(Purpose::Rebuild);
        } else {
            self.wake = Some(now.saturating_add(self.settings.probe_after));
        }
    }

    pub(super) fn try_again(&mut self, now: Duration, asked: &Asked) {
        if self.applied.next() != asked.next_when_asked && !self.gave_up {
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.wake = Some(now.saturating_add(self.settings.backoff(self.attempts)));
        if self.attempts >= self.settings.max_attempts {
            self.give_up(now);
        }
    }

    /// Makes do with what the stream itself says, and goes on asking at the slowest pace.
    pub(super) fn give_up(&mut self, now: Duration) {
        self.gave_up = true;
        self.wake = Some(now.saturating_add(self.settings.max_backoff));
        let run = self.take_last_run();
        self.begin_with(run.into_values());
    }

    /// The last of the waiting batches, as many as follow each other; nothing waits after that.
    pub(super) fn take_last_run(&mut self) -> BTreeMap<u64, Numbered<B>> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let Some(&last) = waiting.keys().next_back() else { return waiting };
        let first = (0..last).rev().take_while(|seq| waiting.contains_key(seq)).last();
        waiting.split_off(&first.unwrap_or(last))
    }

    /// Takes batches that follow each other as they are, without proof that nothing lies between them and what is known.
    pub(super) fn begin_with(&mut self, run: impl IntoIterator<Item = Numbered<B>>) {
        let mut run = run.into_iter().peekable();
        let Some(first) = run.peek().map(|batch| batch.seq) else { return };
        if first > 0 && first == self.applied.next() {
            self.complete = false;
            self.proven = true;
        } else {
            self.forget();
            self.begin_at(first);
        }
        self.forgotten = false;
        run.for_each(|batch| self.apply(batch));
    }

    pub(super) fn begin_at(&mut self, seq: u64) {
        self.applied = Applied::from(seq);
        self.complete = seq == 0;
        self.forgotten = seq > 0;
        self.proven = true;
    }

    /// The engine was started anew, with an empty cache.
    pub(super) fn restarted(&mut self) {
        self.counts.restarts += 1;
        self.hang_up();
        self.forget();
        self.complete = false;
        self.forgotten = false;
        self.ask(Purpose::Rebuild);
    }

    pub(super) fn forget(&mut self) {
        if self.applied.last().is_some() {
            self.set_state(WorkerState::Recovering);
            self.applied = Applied::default();
            self.steps.push_back(Step::Clear);
        }
    }
}
