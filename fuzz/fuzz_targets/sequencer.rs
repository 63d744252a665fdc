//! A stream that lies: whatever comes in whatever order, each batch is applied once and in order, and the sequencer is
//! exact only where nothing is missing.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use llmd_core::event::{Numbered, ReplayId, Sequencer, SequencerSettings, Step};
use llmd_core::index::WorkerState;

#[derive(Arbitrary, Debug)]
struct Input {
    replay: bool,
    max_waiting: u8,
    actions: Actions,
}

/// A stream and its replays come in by two doors, or by one.
#[derive(Arbitrary, Debug)]
enum Actions {
    Apart(Vec<Action>),
    Mixed(Vec<Mixed>),
}

#[derive(Arbitrary, Debug)]
enum Action {
    Connected,
    Disconnected,
    Live(Batch),
    /// A reply to the replay that was asked for last, or to an older one.
    Replayed {
        stale: bool,
        batch: Batch,
    },
    ReplayEnded {
        stale: bool,
    },
    ReplayFailed {
        stale: bool,
    },
    Wait {
        milliseconds: u16,
    },
}

#[derive(Arbitrary, Debug)]
enum Mixed {
    Heard(Batch),
    MakeDo,
    Reconnected,
    Wait { milliseconds: u16 },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Batch {
    seq: Seq,
    life: u8,
    made_at: Option<u16>,
    clears_gpu: bool,
    beyond_gpu: bool,
    unreadable: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Seq {
    Any(u64),
    Small(u8),
    /// So far from the last that was applied.
    Near(i8),
}

/// What the driver of a sequencer sees of it.
struct Driver {
    sequencer: Sequencer<Batch>,
    now: Duration,
    asked: Vec<ReplayId>,
    /// The number of the last batch since everything was forgotten.
    last: Option<u64>,
    /// Whether what is resident may be other than what was applied.
    incomplete: bool,
    offloads: bool,
    state: WorkerState,
}

impl Driver {
    fn numbered(&self, batch: Batch) -> Numbered<Batch> {
        let seq = match batch.seq {
            Seq::Any(seq) => seq,
            Seq::Small(seq) => seq.into(),
            Seq::Near(distance) => self.last.unwrap_or_default().wrapping_add_signed(distance.into()),
        };
        let fingerprint = seq ^ u64::from(batch.life % 3) << 60;
        Numbered::new(seq, fingerprint, batch)
            .made_at(batch.made_at.map(|at| Duration::from_millis(at.into())))
            .clearing_gpu(batch.clears_gpu)
            .beyond_gpu(batch.beyond_gpu)
            .unreadable(batch.unreadable)
    }

    fn asked(&self, stale: bool) -> Option<ReplayId> {
        self.asked.iter().rev().nth(stale.into()).copied()
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Connected => self.sequencer.connected(self.now),
            Action::Disconnected => self.sequencer.disconnected(self.now),
            Action::Live(batch) => self.sequencer.live(self.now, self.numbered(batch)),
            Action::Replayed { stale, batch } => {
                if let Some(id) = self.asked(stale) {
                    self.sequencer.replayed(self.now, id, self.numbered(batch));
                }
            }
            Action::ReplayEnded { stale } => {
                if let Some(id) = self.asked(stale) {
                    self.sequencer.replay_ended(self.now, id);
                }
            }
            Action::ReplayFailed { stale } => {
                if let Some(id) = self.asked(stale) {
                    self.sequencer.replay_failed(self.now, id);
                }
            }
            Action::Wait { milliseconds } => {
                self.now += Duration::from_millis(milliseconds.into());
                self.sequencer.tick(self.now);
            }
        }
    }

    fn act_mixed(&mut self, action: &Mixed) {
        match *action {
            Mixed::Heard(batch) => {
                self.sequencer.heard(self.now, self.numbered(batch));
            }
            Mixed::MakeDo => self.sequencer.make_do(self.now),
            Mixed::Reconnected => self.sequencer.reconnected(self.now),
            Mixed::Wait { milliseconds } => self.now += Duration::from_millis(milliseconds.into()),
        }
    }

    /// Carries out what is to be done.
    fn follow(&mut self) {
        while let Some(step) = self.sequencer.next_step() {
            match step {
                Step::Apply { seq, batch } => {
                    assert!(self.last.is_none_or(|last| seq > last), "{seq} after {:?}", self.last);
                    self.incomplete |= self.last.map_or(seq != 0, |last| seq != last + 1);
                    self.offloads |= batch.beyond_gpu;
                    self.incomplete &= !batch.clears_gpu || self.offloads;
                    self.incomplete |= batch.unreadable;
                    self.last = Some(seq);
                }
                Step::Clear => (self.last, self.incomplete, self.offloads) = (None, false, false),
                Step::Replay { id, from } => {
                    assert!(from <= self.last.unwrap_or_default(), "from {from} after {:?}", self.last);
                    self.asked.push(id);
                }
                Step::State(state) => self.state = state,
                other => panic!("{other:?} is not known here"),
            }
        }
        assert_eq!(self.state, self.sequencer.state());
        assert_eq!(self.last, self.sequencer.last_seq());
        assert!(!self.incomplete || self.state != WorkerState::Exact, "exact, with a gap before {:?}", self.last);
    }
}

fuzz_target!(|input: Input| {
    let mut settings = SequencerSettings::default();
    (settings.replay, settings.max_waiting) = (input.replay, input.max_waiting.into());
    let mut driver = Driver {
        sequencer: Sequencer::new(settings),
        now: Duration::ZERO,
        asked: Vec::new(),
        last: None,
        incomplete: false,
        offloads: false,
        state: WorkerState::default(),
    };
    match &input.actions {
        Actions::Apart(actions) => actions.iter().for_each(|action| {
            driver.act(action);
            driver.follow();
        }),
        Actions::Mixed(actions) => actions.iter().for_each(|action| {
            driver.act_mixed(action);
            driver.follow();
        }),
    }
});
