//! Puts one worker's event stream in order: what is next, what is missing, and when everything must be forgotten.

mod anchor;
mod applied;
mod mixed;
#[cfg(test)]
mod property;
mod recovery;
mod settings;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use anchor::Anchor;
use applied::{Applied, Place};
use recovery::{Asked, Purpose};
pub use settings::SequencerSettings;
pub use step::{Numbered, ReplayId, SequencerCounts, Step};

use crate::state::WorkerState;

/// Puts one worker's event stream in order.
///
/// Batches are numbered from 0, without gaps, and from 0 again when the engine is started anew; the number is all that
/// the stream says about itself. The last batch that was applied is therefore kept as an *anchor*: its number and a
/// fingerprint of its bytes. Whatever is in doubt, the engine is asked to replay from the anchor, inclusive. When the
/// first reply is the anchor, it is the same engine and what follows is all that was missed, a lost tail included;
/// when it is not, the engine is another one, or no longer remembers, and what was known of it is forgotten.
///
/// The driver tells what happens and when, carries out each [`Step`] in order, and calls [`tick`](Self::tick) no later
/// than [`next_deadline`](Self::next_deadline). `B` is a batch; the sequencer does not look into it.
///
/// ```
/// use std::time::Duration;
/// use llmd_core::event::{Numbered, Sequencer, SequencerSettings, Step};
/// use llmd_core::index::WorkerState;
///
/// let mut sequencer = Sequencer::new(SequencerSettings::default());
/// sequencer.connected(Duration::ZERO);
/// let Some(Step::Replay { id, from: 0 }) = sequencer.next_step() else { unreachable!() };
/// sequencer.replayed(Duration::ZERO, id, Numbered::new(0, 0xfeed, "the first batch"));
/// sequencer.replay_ended(Duration::ZERO, id);
///
/// assert_eq!(sequencer.next_step(), Some(Step::Apply { seq: 0, batch: "the first batch" }));
/// assert_eq!(sequencer.next_step(), Some(Step::State(WorkerState::Exact)));
/// ```
#[derive(Debug)]
pub struct Sequencer<B> {
    settings: SequencerSettings,
    steps: VecDeque<Step<B>>,
    counts: SequencerCounts,
    state: WorkerState,
    link: Link,
    applied: Applied,
    /// Whether the engine at the other end is known to be the one whose batches were applied.
    proven: bool,
    /// Whether no block can be resident that was stored before the first batch we know of.
    complete: bool,
    /// Whether the first batches are known to be out of reach, so that asking for them is of no use.
    forgotten: bool,
    /// Whether blocks beyond the GPU were ever spoken of: those outlive a clearing of the GPU.
    offloads: bool,
    /// Live batches that cannot be applied yet, at most `max_waiting` of them.
    waiting: BTreeMap<u64, Numbered<B>>,
    /// When the newest batch that was ever heard was made, and its number; followed where replies come by the same door.
    latest: Option<(Duration, u64)>,
    /// The highest number heard of a batch that does not say when it was made, as none does that is unreadable; until a batch
    /// with a higher number says so.
    timeless: Option<u64>,
    /// The highest live number since the last replay was asked for; a reply holds everything received before.
    seen: Option<u64>,
    asked: Option<Asked>,
    last_id: u64,
    /// Replays in a row that brought nothing.
    attempts: u32,
    gave_up: bool,
    /// When to ask for the next replay, if none is under way.
    wake: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Never,
    Up,
    Down { since: Duration },
}

impl<B> Sequencer<B> {
    /// The sequencer of a worker that has not been heard of.
    pub fn new(settings: SequencerSettings) -> Self {
        Self {
            settings,
            steps: VecDeque::new(),
            counts: SequencerCounts::default(),
            state: WorkerState::default(),
            link: Link::Never,
            applied: Applied::default(),
            proven: false,
            complete: false,
            forgotten: false,
            offloads: false,
            waiting: BTreeMap::new(),
            latest: None,
            timeless: None,
            seen: None,
            asked: None,
            last_id: 0,
            attempts: 0,
            gave_up: false,
            wake: None,
        }
    }

    /// What to do next. Steps are carried out in order.
    pub fn next_step(&mut self) -> Option<Step<B>> {
        self.steps.pop_front()
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.link {
            Link::Never => None,
            Link::Up => self.wake,
            Link::Down { since } => {
                (self.state != WorkerState::Recovering).then(|| since.saturating_add(self.settings.disconnect_grace))
            }
        }
    }

    /// How far the worker's blocks can be trusted, once all steps are carried out.
    pub const fn state(&self) -> WorkerState {
        self.state
    }

    /// The number of the last batch that was applied since everything was last forgotten.
    pub fn last_seq(&self) -> Option<u64> {
        self.applied.last().map(|(seq, _)| seq)
    }

    /// Its limits.
    pub const fn settings(&self) -> &SequencerSettings {
        &self.settings
    }

    /// What happened so far.
    pub const fn counts(&self) -> SequencerCounts {
        self.counts
    }

    /// The stream is connected, for the first time or again: whoever answers must prove to be the same engine.
    pub fn connected(&mut self, now: Duration) {
        self.hang_up();
        self.link = Link::Up;
        self.attempts = 0;
        if self.settings.replay {
            self.ask(Purpose::CatchUp);
        }
        self.settle(now);
    }

    /// The stream is disconnected. What is known is kept: the engine may only be paused or cut off.
    pub fn disconnected(&mut self, now: Duration) {
        if self.link == Link::Up {
            self.hang_up();
            self.link = Link::Down { since: now };
        }
        self.settle(now);
    }

    /// A batch came over the stream.
    pub fn live(&mut self, now: Duration, batch: Numbered<B>) {
        if self.is_no_batch(&batch) {
            return;
        }
        if self.link != Link::Up {
            self.connected(now);
        }
        let was_behind = self.behind();
        let place = self.applied.place(batch.seq, batch.fingerprint);
        self.seen = self.seen.max(Some(batch.seq));
        match (self.settings.replay, self.proven, place) {
            (true, false, _) => self.hold(batch),
            (_, true, Place::Next) => self.apply_live(now, batch),
            (_, true, Place::Known) => self.counts.duplicates += 1,
            (true, true, Place::Ahead) => {
                self.counts.gaps += u64::from(!was_behind);
                self.hold(batch);
                self.ask_unless_under_way();
            }
            // A number from the past with other content, or from too far back to tell: the engine must prove itself.
            (true, true, Place::Differs | Place::Past) => {
                self.hang_up();
                self.ask(Purpose::CatchUp);
            }
            (false, false, Place::Known) => self.proven = true,
            (false, _, place) => {
                self.counts.gaps += u64::from(place == Place::Ahead && self.proven);
                self.counts.restarts += u64::from(matches!(place, Place::Differs | Place::Past));
                self.begin_with([batch]);
            }
        }
        self.settle(now);
    }

    /// A reply to the replay `id` came. Replies to any other than the last one asked for are ignored.
    pub fn replayed(&mut self, now: Duration, id: ReplayId, batch: Numbered<B>) {
        if self.is_no_batch(&batch) {
            return;
        }
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.id == id) else { return };
        if asked.anchor.is_some_and(|(seq, _)| batch.seq < seq) {
            return; // more than was asked for
        }
        let first = !std::mem::replace(&mut asked.answered, true);
        let anchor = asked.anchor.filter(|_| first);
        match anchor {
            Some((seq, fingerprint)) if batch.seq == seq && batch.fingerprint == fingerprint => self.prove(),
            Some((seq, _)) if batch.seq == seq => self.restarted(),
            // What lies between is lost; and whether it was the same engine cannot be told.
            Some(_) => {
                self.counts.gaps += 1;
                self.forget();
                self.begin_at(batch.seq);
                self.next_reply(now, batch);
            }
            None if first => {
                self.forget();
                self.begin_at(batch.seq);
                self.next_reply(now, batch);
            }
            None => self.next_reply(now, batch),
        }
        self.settle(now);
    }

    /// The replay `id` is over: the engine has said everything it knows.
    pub fn replay_ended(&mut self, now: Duration, id: ReplayId) {
        let Some(asked) = self.asked.take_if(|asked| asked.id == id) else { return };
        match asked.anchor {
            // The engine has not come as far as the anchor: it is another one.
            Some(_) if !asked.answered => self.restarted(),
            None if !asked.answered => {
                self.counts.restarts += u64::from(self.applied.last().is_some());
                self.forget();
                self.begin_at(0);
                self.caught_up(now, &asked);
            }
            _ => self.caught_up(now, &asked),
        }
        self.settle(now);
    }

    /// The replay `id` broke off, was refused, or took too long.
    pub fn replay_failed(&mut self, now: Duration, id: ReplayId) {
        if let Some(asked) = self.asked.take_if(|asked| asked.id == id) {
            self.try_again(now, &asked);
        }
        self.settle(now);
    }

    /// Does what has become due.
    pub fn tick(&mut self, now: Duration) {
        if self.link == Link::Up && self.asked.is_none() && self.wake.is_some_and(|wake| wake <= now) {
            let doubtful = self.attempts > 0 || self.gave_up || !self.proven || self.behind();
            self.ask(if doubtful { Purpose::CatchUp } else { Purpose::Probe });
        }
        self.settle(now);
    }

    /// Whether it has the number that ends a replay: such a one is dropped, since none could follow it.
    fn is_no_batch(&mut self, batch: &Numbered<B>) -> bool {
        let ends = batch.seq == u64::MAX;
        if ends {
            self.counts.dropped += 1;
        }
        ends
    }

    fn hold(&mut self, batch: Numbered<B>) {
        if self.waiting.len() < self.settings.max_waiting || self.waiting.contains_key(&batch.seq) {
            self.waiting.insert(batch.seq, batch);
        } else {
            self.counts.dropped += 1;
        }
    }

    fn apply(&mut self, batch: Numbered<B>) {
        self.applied.push(batch.seq, batch.fingerprint, batch.made_at);
        self.offloads |= batch.beyond_gpu;
        self.complete |= batch.clears_gpu && !self.offloads;
        if batch.unreadable {
            self.complete = false;
            self.forgotten = true; // asking again brings the same bytes
        }
        self.counts.applied += 1;
        self.steps.push_back(Step::Apply { seq: batch.seq, batch: batch.batch });
    }

    fn apply_live(&mut self, now: Duration, batch: Numbered<B>) {
        self.apply(batch);
        self.drain();
        let idle = self.settings.replay && self.asked.is_none() && self.attempts == 0 && !self.gave_up;
        if idle {
            self.wake = Some(now.saturating_add(self.settings.probe_after));
        }
    }

    /// Applies what has waited and is next.
    fn drain(&mut self) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= self.applied.next()) {
            let batch = entry.remove();
            if batch.seq == self.applied.next() {
                self.apply(batch);
            } else {
                self.counts.duplicates += 1;
            }
        }
    }

    fn behind(&self) -> bool {
        !self.waiting.is_empty() || self.seen.is_some_and(|seen| seen >= self.applied.next())
    }

    fn settle(&mut self, now: Duration) {
        let known = if self.complete { WorkerState::Exact } else { WorkerState::Approximate };
        let state = match self.link {
            Link::Never => WorkerState::Recovering,
            Link::Down { since } if now >= since.saturating_add(self.settings.disconnect_grace) => {
                WorkerState::Recovering
            }
            Link::Down { .. } => self.state,
            Link::Up if self.gave_up => WorkerState::Approximate,
            Link::Up if !self.settings.replay => {
                if self.proven {
                    known
                } else {
                    WorkerState::Approximate
                }
            }
            Link::Up if self.attempts > 0 || self.behind() => WorkerState::Recovering,
            Link::Up => match self.asked {
                Some(Asked { purpose: Purpose::Probe, .. }) => known,
                None if self.proven => known,
                _ => WorkerState::Recovering,
            },
        };
        self.set_state(state);
    }

    fn set_state(&mut self, state: WorkerState) {
        if state != self.state {
            self.state = state;
            self.steps.push_back(Step::State(state));
        }
    }
}
