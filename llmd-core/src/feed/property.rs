//! An engine that loses, repeats, restarts and forgets, and a caller who asks for replay or does not.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::{payload, settings};
use super::{Fed, Feed};
use crate::event::{KvEvent, decode_batch};
use crate::index::{IndexWriter as _, PrefixIndex as _, Resident, WorkerState};
use crate::testing::{ModelIndex, offloaded, prompts, removed, stored};
use crate::{ErrorKind, Medium, WorkerId};

const NAME: &str = "engine";
/// How many batches the engine remembers for replay.
const MEMORY: usize = 10;

#[derive(Clone, Copy, Debug)]
enum Says {
    Cleared,
    Corrupt,
    Nonsense,
    Offloaded,
    Removed(u8),
    Stored(u8),
}

#[derive(Clone, Debug)]
enum Action {
    /// The engine says something, and the caller hears it or not.
    Publish { says: Says, heard: bool },
    /// The caller feeds what the engine replays from where something is missing, or its beginning.
    Replay { at_most: Option<usize> },
    /// An old batch comes again.
    Repeat { back: usize },
    /// The engine is started anew, and says this much before the caller hears it again.
    Restart { unheard: usize },
    /// The stream breaks, and is connected again.
    Reconnect,
    /// What is missing is given up.
    GiveUp,
    /// A batch is fed without its number.
    Unnumbered(Says),
    /// The caller says that the cache was emptied, as the engine will.
    Clear,
}

/// The engine's lives, each with what it published, and the feed that hears of it.
struct World {
    feed: Feed,
    worker: WorkerId,
    second: f64,
    lives: Vec<Vec<Vec<u8>>>,
    /// The life that was heard last, and how many of its batches were heard of: the last one's number and one.
    heard: Option<(usize, usize)>,
}

impl World {
    fn new() -> Self {
        let feed = Feed::new(settings()).unwrap();
        let worker = feed.worker(NAME).unwrap();
        Self { feed, worker, second: 0.0, lives: vec![Vec::new()], heard: None }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Publish { says, heard } => {
                self.publish(says);
                if heard {
                    self.hear_last();
                }
            }
            Action::Replay { at_most } => _ = self.replay(at_most),
            Action::Repeat { back } => {
                let life = self.lives.len() - 1;
                let heard = self.heard.filter(|heard| heard.0 == life).map_or(0, |heard| heard.1);
                if let Some(seq) = heard.checked_sub(back + 1) {
                    self.hear(life, seq);
                }
            }
            Action::Restart { unheard } => {
                self.lives.push(Vec::new());
                (0..unheard).for_each(|block| self.publish(Says::Stored(block as u8)));
            }
            Action::Reconnect => self.feed.reconnected(Duration::ZERO, NAME).unwrap(),
            Action::GiveUp => {
                let fed = self.feed.give_up(Duration::ZERO, NAME).unwrap();
                assert_eq!(fed.missing_from, None);
            }
            Action::Unnumbered(says) => {
                let payload = self.payload(says);
                if let Some(fed) = self.fed(None, &payload) {
                    assert_eq!(fed.state, WorkerState::Approximate);
                }
            }
            Action::Clear => {
                self.feed.clear(NAME).unwrap();
                assert_ne!(self.feed.state(NAME).unwrap(), WorkerState::Exact);
            }
        }
        self.assert_not_wrongly_exact();
    }

    fn payload(&mut self, says: Says) -> Vec<u8> {
        self.second += 1.0;
        let event = match says {
            Says::Cleared => KvEvent::AllBlocksCleared,
            Says::Nonsense => return format!("nonsense {}", self.second).into_bytes(),
            Says::Offloaded => KvEvent::BlockStored(offloaded(Medium::Cpu, [0])),
            Says::Removed(block) => removed(Medium::Gpu, [block.into()]),
            Says::Corrupt | Says::Stored(_) => {
                let block = if let Says::Stored(block) = says { block } else { 0 };
                let parent = block.checked_sub(1).map(u64::from);
                KvEvent::BlockStored(stored(parent, [block.into()], &[0, 7]))
            }
        };
        let mut payload = payload(self.second, &[event]);
        if matches!(says, Says::Corrupt) {
            let place = payload.windows(11).position(|window| window == b"BlockStored").unwrap();
            payload[place] = b'X';
        }
        payload
    }

    fn publish(&mut self, says: Says) {
        let payload = self.payload(says);
        self.lives.last_mut().unwrap().push(payload);
    }

    fn hear_last(&mut self) -> Option<Fed> {
        let life = self.lives.len() - 1;
        self.hear(life, self.lives[life].len() - 1)
    }

    fn hear(&mut self, life: usize, seq: usize) -> Option<Fed> {
        let before = self.heard.filter(|heard| heard.0 == life).map_or(0, |heard| heard.1);
        let next = self.feed.last_seq(NAME).unwrap().map(|last| last + 1);
        if before == 0 && seq > 0 && next == Some(seq as u64) {
            // What numbers cannot tell: another engine goes on exactly where the one before ended.
            self.feed.reconnected(Duration::ZERO, NAME).unwrap();
        }
        self.heard = Some((life, before.max(seq + 1)));
        let payload = self.lives[life][seq].clone();
        self.fed(Some(seq as u64), &payload)
    }

    fn fed(&self, seq: Option<u64>, payload: &[u8]) -> Option<Fed> {
        match self.feed.apply(Duration::ZERO, NAME, seq, payload) {
            Ok(fed) => {
                assert_eq!(fed.state, self.feed.state(NAME).unwrap());
                Some(fed)
            }
            Err(error) => {
                assert_eq!((error.kind(), decode_batch(payload).is_err()), (ErrorKind::Corrupt, true), "{error}");
                None
            }
        }
    }

    /// Feeds what the engine replays; says whether anything did.
    fn replay(&mut self, at_most: Option<usize>) -> bool {
        let Some(from) = self.feed.missing_from(NAME).unwrap() else { return false };
        let life = self.lives.len() - 1;
        let said = self.lives[life].len();
        let first = (from as usize).max(said.saturating_sub(MEMORY));
        let replies: Vec<_> = (first..said).take(at_most.unwrap_or(usize::MAX)).collect();
        for &seq in &replies {
            self.hear(life, seq);
            self.assert_not_wrongly_exact();
        }
        !replies.is_empty()
    }

    /// What the engine holds according to the batches that were heard of.
    fn truth(&self) -> ModelIndex {
        let mut model = ModelIndex::new(settings());
        let (life, heard) = self.heard.unwrap_or_default();
        for payload in &self.lives[life][..heard] {
            if let Ok(batch) = decode_batch(payload) {
                model.apply(self.worker, batch.timestamp, &batch.events);
            }
        }
        model
    }

    fn held(&self) -> Vec<Resident> {
        let mut held = self.feed.residents(NAME).unwrap();
        held.sort_unstable();
        held
    }

    /// Of what lies beyond the GPU, some may be unknown: a batch that says that the GPU is empty is a known beginning for a
    /// worker that never spoke of other media.
    fn assert_not_wrongly_exact(&self) {
        if self.feed.state(NAME).unwrap() == WorkerState::Exact {
            let mut truth = self.truth().residents(self.worker);
            truth.sort_unstable();
            let (held, elsewhere): (Vec<_>, _) = self.held().into_iter().partition(|held| held.medium == Medium::Gpu);
            let (truth, beyond): (Vec<_>, _) = truth.into_iter().partition(|truth| truth.medium == Medium::Gpu);
            assert_eq!(held, truth, "exact, and wrong");
            let copies = |all: Vec<Resident>| all.iter().map(|resident| resident.copies).sum::<u32>();
            assert!(copies(elsewhere) <= copies(beyond), "more than there is");
        }
    }
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        2 => Just(Says::Cleared),
        1 => Just(Says::Corrupt),
        1 => Just(Says::Nonsense),
        1 => Just(Says::Offloaded),
        10 => (0..6_u8).prop_map(Says::Removed),
        30 => (0..6_u8).prop_map(Says::Stored),
    ]
}

fn readable() -> impl Strategy<Value = Says> {
    prop_oneof![
        1 => Just(Says::Cleared),
        10 => (0..6_u8).prop_map(Says::Removed),
        30 => (0..6_u8).prop_map(Says::Stored),
    ]
}

fn actions(with_corruption: bool) -> impl Strategy<Value = Vec<Action>> {
    let odd = u32::from(with_corruption);
    let publish = if with_corruption { says().boxed() } else { readable().boxed() };
    let action = prop_oneof![
        30 => (publish, prop::bool::weighted(0.8)).prop_map(|(says, heard)| Action::Publish { says, heard }),
        6 => prop::option::weighted(0.4, 0..5_usize).prop_map(|at_most| Action::Replay { at_most }),
        2 => (0..5_usize).prop_map(|back| Action::Repeat { back }),
        2 => (0..8_usize).prop_map(|unheard| Action::Restart { unheard }),
        1 => Just(Action::Reconnect),
        odd => Just(Action::GiveUp),
        odd => says().prop_map(Action::Unnumbered),
        odd => Just(Action::Clear),
    ];
    proptest::collection::vec(action, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever is lost, repeated, unreadable, unnumbered or given up: what is called exact is what the engine holds.
    #[test]
    fn it_is_never_exact_and_wrong(actions in actions(true)) {
        let mut world = World::new();
        actions.into_iter().for_each(|action| world.act(action));
    }

    /// With every gap filled by a replay, however late and in however many pieces, it ends as a plain index that heard
    /// everything in order.
    #[test]
    fn it_ends_as_if_nothing_had_been_lost(actions in actions(false)) {
        let mut world = World::new();
        actions.into_iter().for_each(|action| world.act(action));
        world.publish(Says::Stored(0));
        world.hear_last();
        for _ in 0..4 {
            world.replay(None);
        }

        if world.lives.last().unwrap().len() <= MEMORY {
            prop_assert_eq!(world.feed.state(NAME).unwrap(), WorkerState::Exact);
            let truth = world.truth();
            for chain in prompts(truth.hasher()) {
                prop_assert_eq!(world.feed.reader().query(&chain), truth.query(&chain));
            }
        }
    }
}
