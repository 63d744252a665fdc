//! A publisher with every fault that real ones have, and what must hold whatever happens.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::{Numbered, ReplayId, Sequencer, SequencerSettings, Step};
use crate::state::WorkerState;

/// How many batches the publisher remembers for replay.
const MEMORY: usize = 12;

/// A batch: which life of the engine, which number, whether it clears the cache.
type Batch = (u64, u64, bool);

#[derive(Clone, Copy, Debug)]
enum Event {
    Up,
    Down,
    Batch(Batch),
}

#[derive(Clone, Copy, Debug)]
enum Reply {
    Batch(Batch),
    End,
    Failed,
}

#[derive(Clone, Debug)]
enum Action {
    Publish { clears: bool },
    Lose,
    Repeat { back: usize },
    Blip,
    Restart { unheard: u64 },
    Hear(usize),
    Answer { cut: Option<usize> },
    Read(usize),
    Wait(u64),
}

struct World {
    sequencer: Sequencer<Batch>,
    replay: bool,
    now: Duration,
    life: u64,
    published: Vec<Batch>,
    stream: VecDeque<Event>,
    question: Option<(ReplayId, u64)>,
    replies: VecDeque<(ReplayId, Reply)>,
    /// What the index would hold, batch by batch.
    held: Vec<Batch>,
    state: WorkerState,
    up: bool,
}

impl World {
    fn new(replay: bool) -> Self {
        let settings = SequencerSettings { replay, max_waiting: 6, ..SequencerSettings::default() };
        Self {
            sequencer: Sequencer::new(settings),
            replay,
            now: Duration::ZERO,
            life: 0,
            published: Vec::new(),
            stream: VecDeque::from([Event::Up]),
            question: None,
            replies: VecDeque::new(),
            held: Vec::new(),
            state: WorkerState::Recovering,
            up: false,
        }
    }

    fn publish(&mut self, clears: bool) -> Batch {
        let batch = (self.life, self.published.len() as u64, clears);
        self.published.push(batch);
        batch
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Publish { clears } => {
                let batch = self.publish(clears);
                self.stream.push_back(Event::Batch(batch));
            }
            Action::Lose => {
                self.publish(false);
            }
            Action::Repeat { back } => {
                let again = self.published.iter().rev().nth(back).copied();
                self.stream.extend(again.map(Event::Batch));
            }
            Action::Blip => self.stream.extend([Event::Down, Event::Up]),
            Action::Restart { unheard } => {
                self.life += 1;
                self.published.clear();
                self.question = None;
                self.stream.push_back(Event::Down);
                for _ in 0..unheard {
                    self.publish(false);
                }
                self.stream.push_back(Event::Up);
            }
            Action::Hear(n) => (0..n).for_each(|_| self.hear()),
            Action::Answer { cut } => self.answer(cut),
            Action::Read(n) => (0..n).for_each(|_| self.read()),
            Action::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                self.sequencer.tick(self.now);
                self.carry_out();
            }
        }
    }

    fn hear(&mut self) {
        let event = self.stream.pop_front();
        self.up = if event.is_some() { !matches!(event, Some(Event::Down)) } else { self.up };
        match event {
            Some(Event::Up) => self.sequencer.connected(self.now),
            Some(Event::Down) => self.sequencer.disconnected(self.now),
            Some(Event::Batch(batch)) => self.sequencer.live(self.now, numbered(batch)),
            None => {}
        }
        self.carry_out();
    }

    /// Answers the open question with what is remembered, or breaks off after `cut` replies.
    fn answer(&mut self, cut: Option<usize>) {
        let Some((id, from)) = self.question.take() else { return };
        let forgotten = self.published.len().saturating_sub(MEMORY);
        let first = usize::try_from(from).unwrap().max(forgotten);
        let known = self.published.iter().skip(first).map(|&batch| (id, Reply::Batch(batch)));
        self.replies.extend(known.take(cut.unwrap_or(usize::MAX)));
        self.replies.push_back((id, if cut.is_some() { Reply::Failed } else { Reply::End }));
    }

    fn read(&mut self) {
        match self.replies.pop_front() {
            Some((id, Reply::Batch(batch))) => self.sequencer.replayed(self.now, id, numbered(batch)),
            Some((id, Reply::End)) => self.sequencer.replay_ended(self.now, id),
            Some((id, Reply::Failed)) => self.sequencer.replay_failed(self.now, id),
            None => {}
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(step) = self.sequencer.next_step() {
            match step {
                Step::Apply { seq, batch } => {
                    assert_eq!(seq, batch.1);
                    assert!(
                        self.held.last().is_none_or(|last| last.1 + 1 == seq),
                        "{seq} after {:?}",
                        self.held.last()
                    );
                    self.held.push(batch);
                }
                Step::Clear => {
                    assert_ne!(self.state, WorkerState::Exact, "cleared while it was trusted");
                    self.held.clear();
                }
                Step::Replay { id, from } => {
                    assert!(self.replay);
                    self.question = Some((id, from));
                }
                Step::State(state) => self.state = state,
            }
        }
        assert_eq!(self.state, self.sequencer.state());
        if self.state == WorkerState::Exact && self.hears_who_answers() {
            self.assert_nothing_is_missing();
        }
    }

    /// Whether the stream comes from the engine that answers for replay. Until the sequencer has heard that the stream
    /// broke, it cannot know that another one answers.
    fn hears_who_answers(&self) -> bool {
        self.up && !self.stream.iter().any(|event| matches!(event, Event::Down))
    }

    /// What is held is one life of the engine from its beginning, or from a time when its cache was empty.
    fn assert_nothing_is_missing(&self) {
        let cleared = self.held.iter().rposition(|batch| batch.2);
        let known = &self.held[cleared.unwrap_or(0)..];
        let Some(first) = known.first() else { return };
        assert!(first.2 || first.1 == 0, "exact, but nothing is known before {first:?}");
        assert!(known.iter().all(|batch| batch.0 == first.0), "exact, but of two lives: {known:?}");
    }

    /// Lets everything arrive and every question be answered, until a probe finds nothing new.
    fn calm_down(&mut self) {
        for _ in 0..40 {
            while !self.stream.is_empty() || self.question.is_some() || !self.replies.is_empty() {
                self.hear();
                self.answer(None);
                self.read();
            }
            if let Some(due) = self.sequencer.next_deadline() {
                self.now = self.now.max(due);
                self.sequencer.tick(self.now);
                self.carry_out();
            }
        }
    }
}

fn numbered(batch: Batch) -> Numbered<Batch> {
    Numbered::new(batch.1, batch.0 << 32 | batch.1, batch).clearing_gpu(batch.2)
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => prop::bool::weighted(0.05).prop_map(|clears| Action::Publish { clears }),
        2 => Just(Action::Lose),
        1 => (0..4_usize).prop_map(|back| Action::Repeat { back }),
        1 => Just(Action::Blip),
        1 => (0..20_u64).prop_map(|unheard| Action::Restart { unheard }),
        6 => (1..6_usize).prop_map(Action::Hear),
        4 => prop::option::weighted(0.3, 0..4_usize).prop_map(|cut| Action::Answer { cut }),
        6 => (1..8_usize).prop_map(Action::Read),
        4 => prop_oneof![1..200_u64, 1000..10_000_u64].prop_map(Action::Wait),
    ];
    proptest::collection::vec(action, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever happens, no batch is applied twice or out of order, and what is called exact has no hole; and when the
    /// faults stop, everything the engine remembers is known.
    #[test]
    fn it_is_never_wrongly_exact_and_always_converges(actions in actions()) {
        let mut world = World::new(true);
        actions.into_iter().for_each(|action| world.act(action));
        world.calm_down();

        let missing = world.published.len() - world.held.len();
        prop_assert_eq!(&world.held[..], &world.published[missing..]);
        if world.published.len() <= MEMORY {
            prop_assert_eq!(world.state, WorkerState::Exact);
        }
        prop_assert_ne!(world.state, WorkerState::Recovering);
    }

    /// The same without a replay socket, but for what no stream can tell: a tail that was lost.
    #[test]
    fn without_replay_it_is_never_wrongly_exact(actions in actions()) {
        let mut world = World::new(false);
        actions.into_iter().for_each(|action| world.act(action));
        world.calm_down();
        prop_assert_ne!(world.state, WorkerState::Recovering);
    }
}
