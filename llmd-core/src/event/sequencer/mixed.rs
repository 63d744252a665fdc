//! A stream and its replays that come in by one door: which of them a batch is, its number has to tell.

use std::cmp::Ordering;
use std::time::Duration;

use super::applied::{Applied, Place};
use super::recovery::{Asked, Purpose};
use super::{Link, Numbered, Sequencer};
use crate::state::WorkerState;

impl<B> Sequencer<B> {
    /// A batch came, and nobody says whether over the stream or as a reply; gives whether it came before.
    ///
    /// This takes the place of [`connected`](Self::connected), [`live`](Self::live), [`replayed`](Self::replayed) and
    /// [`replay_ended`](Self::replay_ended): what is missing is filled in by feeding what the engine replays, from
    /// [`missing_from`](Self::missing_from) on, in order. A replay is over when nothing is missing any more.
    ///
    /// `age` is how the time at which the engine made the batch compares with the newest that was heard before. It
    /// decides only where numbers and fingerprints leave open whether an old batch comes again or an engine was started
    /// anew.
    pub fn heard(&mut self, now: Duration, batch: Numbered<B>, age: Ordering) -> bool {
        if self.link != Link::Up {
            self.connected(now);
        }
        let place = self.applied.place(batch.seq, batch.fingerprint);
        let comes_again = place == Place::Known
            || self.waiting.get(&batch.seq).is_some_and(|held| held.fingerprint == batch.fingerprint);
        if self.is_first_of_another(&batch, place, age) {
            self.begin_anew(batch);
        } else if self.is_of_another(&batch, place, age) {
            self.rebuild_around(batch, age);
        } else {
            self.sort_in(now, batch, place);
        }
        self.settle(now);
        comes_again
    }

    /// The number from which the engine is to replay, inclusive, while something is missing: the last one that was
    /// applied, by which the engine proves that it is the same one; 0, when nothing was.
    pub fn missing_from(&self) -> Option<u64> {
        self.asked.map(|_| self.last_seq().unwrap_or(0))
    }

    /// What is missing will not come: makes do with what waits. Of that, batches before a hole are of no use.
    pub fn make_do(&mut self, now: Duration) {
        if self.asked.take().is_none() {
            return;
        }
        let run = self.take_last_run();
        if let Some(&first) = run.keys().next().filter(|&&first| first != self.applied.next()) {
            self.forget();
            self.applied = Applied::from(first);
        }
        self.seen = None;
        self.proven = true;
        self.complete = false;
        self.forgotten = true;
        run.into_values().for_each(|batch| self.apply(batch));
        self.settle(now);
    }

    /// Whoever drives the engine emptied its cache. What the stream said before may still be on its way, so that only
    /// the stream itself can say when everything is known again.
    pub fn emptied(&mut self) {
        self.complete = false;
        self.forgotten = true;
        if self.state == WorkerState::Exact {
            self.set_state(WorkerState::Approximate);
        }
    }

    /// Whether it is the first batch of an engine that was started anew.
    fn is_first_of_another(&self, batch: &Numbered<B>, place: Place, age: Ordering) -> bool {
        batch.seq == 0
            && match place {
                Place::Differs => true,
                Place::Past => self.asked.is_none() && age != Ordering::Less,
                // It should fill the hole before those that wait, but was made after them.
                Place::Next => !self.waiting.is_empty() && age == Ordering::Greater,
                Place::Ahead | Place::Known => false,
            }
    }

    /// Whether it is from the middle of an engine that was started anew.
    fn is_of_another(&self, batch: &Numbered<B>, place: Place, age: Ordering) -> bool {
        match place {
            Place::Differs => true,
            Place::Past => batch.seq > 0 && age == Ordering::Greater,
            Place::Ahead | Place::Known | Place::Next => false,
        }
    }

    fn begin_anew(&mut self, first: Numbered<B>) {
        self.counts.restarts += 1;
        self.hang_up();
        self.forget();
        self.begin_at(0);
        self.apply(first);
    }

    /// Forgets an engine that is gone, and asks for what the new one said before and after `batch`.
    fn rebuild_around(&mut self, batch: Numbered<B>, age: Ordering) {
        let last = self.waiting.keys().next_back().copied();
        // A reply that differs says nothing of how far the new engine was heard already.
        let heard = self.seen.max(last).filter(|_| age != Ordering::Greater);
        self.restarted();
        self.seen = heard.max(Some(batch.seq));
        self.hold(batch);
    }

    fn sort_in(&mut self, now: Duration, batch: Numbered<B>, place: Place) {
        let Some(asked) = self.asked else {
            return match place {
                Place::Next => self.apply_live(now, batch),
                Place::Known => self.counts.duplicates += 1,
                Place::Ahead => {
                    self.counts.gaps += 1;
                    self.ask(Purpose::CatchUp);
                    self.wait(batch);
                }
                Place::Differs | Place::Past => {
                    self.hang_up();
                    self.ask(Purpose::CatchUp);
                    // It may be an old one after all: what it says of the whole cache is not to be built on.
                    self.hold(batch.clearing_gpu(false));
                }
            };
        };
        if asked.is_answered_by(&batch, self.applied.next()) {
            self.replayed(now, asked.id, batch);
            if !self.behind() {
                self.replay_ended(now, asked.id);
            }
        } else if matches!(place, Place::Ahead | Place::Next) {
            self.wait(batch);
        } else {
            self.counts.duplicates += 1;
        }
    }

    fn wait(&mut self, batch: Numbered<B>) {
        self.seen = self.seen.max(Some(batch.seq));
        self.hold(batch);
    }
}

impl Asked {
    /// Whether a batch is what the replay brings next.
    fn is_answered_by<B>(&self, batch: &Numbered<B>, next: u64) -> bool {
        match self.anchor {
            _ if self.answered => batch.seq <= next,
            Some((seq, _)) => batch.seq == seq,
            None => batch.seq == 0,
        }
    }
}
