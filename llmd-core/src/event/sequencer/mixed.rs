//! A stream and its replays that come in by one door: which of them a batch is, its number has to tell.

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
    /// Nobody says either when the stream breaks. Where numbers and fingerprints leave open whether a batch is an old one
    /// or of an engine that was started anew, [`Numbered::made_at`] decides: an engine's clock does not go back.
    pub fn heard(&mut self, now: Duration, batch: Numbered<B>) -> bool {
        if self.is_no_batch(&batch) {
            return false;
        }
        if self.link != Link::Up {
            self.connected(now);
        }
        self.latest = self.latest.max(made(&batch));
        self.timeless = match batch.made_at {
            None => self.timeless.max(Some(batch.seq)),
            Some(_) => self.timeless.filter(|&seq| seq >= batch.seq),
        };
        self.drop_stale(&batch);
        let place = self.applied.place(batch.seq, batch.fingerprint);
        let waits = self.waiting.get(&batch.seq).is_some_and(|held| held.fingerprint == batch.fingerprint);
        if self.is_of_another(&batch, place) {
            self.rebuild_around(now, batch);
        } else {
            self.sort_in(now, batch, place);
        }
        self.settle(now);
        place == Place::Known || waits
    }

    /// The stream was connected anew, and whoever speaks now must prove to be the same engine. What waits is kept: the
    /// first word of another engine will tell that it is of no use.
    pub fn reconnected(&mut self, now: Duration) {
        if self.link == Link::Never {
            return self.connected(now);
        }
        let seen = self.outstanding();
        self.proven = false;
        self.ask(Purpose::CatchUp);
        self.seen = seen;
        self.settle(now);
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
        run.into_values().for_each(|batch| self.apply(batch));
        self.seen = None;
        self.proven = true;
        // Whether they are all of one engine is not known, and so not whether a clearing among them stands.
        self.complete = false;
        self.forgotten = true;
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

    /// Drops what waits with no lower number and was made before `batch`: it is of an engine that is gone. Where nobody
    /// knows when `batch` was made, it may be, and is asked for again.
    fn drop_stale(&mut self, batch: &Numbered<B>) {
        let Some(made_at) = batch.made_at else {
            self.seen = self.outstanding();
            self.waiting.retain(|_, held| held.seq < batch.seq);
            return;
        };
        let stale = |held: &Numbered<B>| held.seq >= batch.seq && held.made_at.is_some_and(|held| held < made_at);
        let before = self.waiting.len();
        self.waiting.retain(|_, held| !stale(held));
        if self.waiting.len() < before {
            // Whoever proved to be the same engine is gone, too.
            self.ask(Purpose::CatchUp);
            self.seen = self.outstanding().max(self.made_after(batch)).max(self.timeless_after(batch));
        }
    }

    /// Whether it is of an engine that was started anew.
    fn is_of_another(&self, batch: &Numbered<B>, place: Place) -> bool {
        match place {
            Place::Differs => true,
            Place::Past if batch.made_at > self.applied.newest() => true,
            // Nobody asked for the first batch again.
            Place::Past => batch.seq == 0 && self.asked.is_none() && batch.made_at == self.applied.newest(),
            Place::Ahead | Place::Known | Place::Next => false,
        }
    }

    /// Forgets an engine that is gone, and asks for what the new one said before and after `batch`. What was made after it
    /// still waits: it is of the new one too. So is what was made after it and waits no longer, since it was made do with or
    /// dropped; it is missing again.
    fn rebuild_around(&mut self, now: Duration, batch: Numbered<B>) {
        let later = self.made_after(&batch);
        let seen = self.outstanding().max(later).max(self.timeless_after(&batch));
        if later.is_none() && batch.made_at.is_some() {
            self.latest = made(&batch);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|_, held| held.made_at > batch.made_at);
        self.restarted();
        self.seen = seen;
        self.waiting = waiting;
        let place = self.applied.place(batch.seq, batch.fingerprint);
        self.sort_in(now, batch, place);
    }

    /// The number of the newest batch that was ever heard, when that was made after `batch`: it is of the same engine, or
    /// of a later one. An engine whose clock went back has to say as much as the one before it until this is over.
    fn made_after(&self, batch: &Numbered<B>) -> Option<u64> {
        let made_at = batch.made_at?;
        self.latest.filter(|&(latest, _)| latest > made_at).map(|(_, seq)| seq)
    }

    /// The highest number of a batch of which nobody knows when it was made, when that is above this one's: it may be of the
    /// same engine.
    fn timeless_after(&self, batch: &Numbered<B>) -> Option<u64> {
        self.timeless.filter(|&seq| seq > batch.seq)
    }

    /// The highest number that was heard and is not applied.
    fn outstanding(&self) -> Option<u64> {
        let last = self.waiting.keys().next_back().copied();
        last.max(self.seen.filter(|&seen| seen >= self.applied.next()))
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
                    self.hold(batch);
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

/// When a batch was made, and its number: those of one engine lie in this order.
fn made<B>(batch: &Numbered<B>) -> Option<(Duration, u64)> {
    batch.made_at.map(|made_at| (made_at, batch.seq))
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
