//! Engines that do at random what real ones do, and say so: for comparing an index with the model.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::prompt::{BLOCK_SIZE, DEPTH, Prompt};
use super::{offloaded, removed, stored};
use crate::event::{BlockStored, KvEvent, SpecKind};
use crate::index::WorkerState;
use crate::{GroupIdx, Medium, WorkerId};

/// Copies that fit into an engine's cache.
const CAPACITY: usize = 16;
const WORKERS: u32 = 3;

/// One thing that happens to an index.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever replays the steps must replay all of them")]
pub enum Step {
    /// The engine says something.
    Apply(WorkerId, Vec<KvEvent>),
    /// The engine was started anew and will use other names from now on, or what it said is not trusted any more.
    Clear(WorkerId),
    /// The engine is gone.
    Remove(WorkerId),
    /// The stream of its events was found to be this good.
    SetState(WorkerId, WorkerState),
}

/// What an engine is made to do.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Store the blocks `from..to` of a prompt, or what it says of them.
    Store {
        prompt: Prompt,
        from: usize,
        to: usize,
        says: Says,
        alias: bool,
    },
    /// Lose a copy from anywhere.
    Evict {
        nth: usize,
    },
    /// Remove what nobody has heard of.
    RemoveUnknown,
    Clear,
    Restart,
    /// Go on as if nothing was, while the index forgets what was said.
    Mistrust,
    Leave,
    Judge(WorkerState),
}

#[derive(Clone, Copy, Debug)]
enum Says {
    /// What vLLM says of its GPU cache.
    Content,
    /// What vLLM says of its GPU cache, of a second full-attention group.
    SecondGroup,
    /// What an offload tier says when it describes itself.
    Described(Medium),
    /// What it says when it does not.
    NamesOnly(Medium),
    /// Blocks of another size.
    OtherSize,
    /// Fewer names than blocks.
    Sparse,
    /// A group that is not full attention.
    SlidingWindow,
}

/// What three engines of tiny caches do at random, with blocks of two tokens: prompts that share prefixes, copies,
/// evictions anywhere in a prompt, children before their parents, offload tiers that say names only, two names for one
/// block, adapters and salts, restarts, lost trust, removals of what was never stored, and now and then what a hybrid model says.
pub fn engines() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0..WORKERS, action()), 0..80).prop_map(|actions| {
        let mut engines: Vec<_> = (0..WORKERS).map(Engine::new).collect();
        actions.into_iter().map(|(worker, action)| engines[worker as usize].act(action)).collect()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let namespace = prop_oneof![5 => Just(0_u8), 3 => 1..4_u8];
    let prompt = (0..1_u8 << DEPTH, namespace).prop_map(|(content, namespace)| Prompt::new(content, namespace));
    let says = prop_oneof![
        60 => Just(Says::Content),
        2 => Just(Says::SecondGroup),
        8 => tier().prop_map(Says::Described),
        16 => tier().prop_map(Says::NamesOnly),
        1 => Just(Says::OtherSize),
        1 => Just(Says::Sparse),
        1 => Just(Says::SlidingWindow),
    ];
    let range = (0..DEPTH, 0..=DEPTH).prop_map(|(from, to)| (from, to.max(from)));
    let alias = proptest::bool::weighted(0.3);
    prop_oneof![
        60 => (prompt, range, says, alias)
            .prop_map(|(prompt, (from, to), says, alias)| Action::Store { prompt, from, to, says, alias }),
        25 => (0..CAPACITY).prop_map(|nth| Action::Evict { nth }),
        1 => Just(Action::RemoveUnknown),
        2 => Just(Action::Clear),
        1 => Just(Action::Restart),
        1 => Just(Action::Mistrust),
        1 => Just(Action::Leave),
        10 => prop_oneof![Just(WorkerState::Exact), Just(WorkerState::Recovering), Just(WorkerState::Approximate)]
            .prop_map(Action::Judge),
    ]
}

fn tier() -> impl Strategy<Value = Medium> {
    prop_oneof![Just(Medium::Cpu), Just(Medium::Storage)]
}

/// An engine with a cache of a few copies; the oldest goes when it is full.
#[derive(Debug)]
struct Engine {
    worker: WorkerId,
    /// Every block that was ever named: prompt, blocks before it, alias. The name is its number.
    names: BTreeMap<(Prompt, usize, bool), u64>,
    next_name: u64,
    cache: VecDeque<(GroupIdx, Medium, u64)>,
}

impl Engine {
    /// Engines begin to count at different numbers, so that one's name for a block is another's for another block.
    fn new(worker: u32) -> Self {
        let next_name = u64::from(worker);
        Self { worker: WorkerId(worker), names: BTreeMap::new(), next_name, cache: VecDeque::new() }
    }

    fn act(&mut self, action: Action) -> Step {
        let said = |event| Step::Apply(self.worker, vec![event]);
        match action {
            Action::Store { prompt, from, to, says, alias } => self.store(prompt, from, to, says, alias),
            Action::Evict { nth } => Step::Apply(self.worker, self.evict(nth).into_iter().collect()),
            Action::RemoveUnknown => said(removed(Medium::Gpu, [1_000_000])),
            Action::Clear => {
                self.cache.retain(|&(_, medium, _)| medium != Medium::Gpu);
                said(KvEvent::AllBlocksCleared)
            }
            Action::Restart => {
                self.cache.clear();
                self.names.clear();
                Step::Clear(self.worker)
            }
            Action::Mistrust => Step::Clear(self.worker),
            Action::Leave => {
                *self = Self::new(self.worker.0);
                Step::Remove(self.worker)
            }
            Action::Judge(state) => Step::SetState(self.worker, state),
        }
    }

    fn store(&mut self, prompt: Prompt, from: usize, to: usize, says: Says, alias: bool) -> Step {
        let names: Vec<_> = (from..to).map(|block| self.name(prompt, block, alias)).collect();
        let parent = from.checked_sub(1).map(|block| self.name(prompt, block, alias));
        let event = event(prompt, from, parent, &names, says);
        let copies = names.into_iter().map(|name| (event.group_idx, event.medium, name));
        self.cache.extend(copies.take(event.block_hashes.len()));
        let mut events = vec![KvEvent::BlockStored(event)];
        while self.cache.len() > CAPACITY {
            events.extend(self.evict(0));
        }
        Step::Apply(self.worker, events)
    }

    /// The engine's name for a block: the same for the same tokens before it, in the same namespace.
    fn name(&mut self, prompt: Prompt, block: usize, alias: bool) -> u64 {
        *self.names.entry((prompt.up_to(block), block, alias)).or_insert_with(|| {
            self.next_name += 1;
            self.next_name
        })
    }

    fn evict(&mut self, nth: usize) -> Option<KvEvent> {
        let (group, medium, name) = self.cache.remove(nth % self.cache.len().max(1))?;
        let mut event = removed(medium, [name]);
        if let KvEvent::BlockRemoved(removed) = &mut event {
            removed.group_idx = group;
        }
        Some(event)
    }
}

/// What is said of the blocks of `prompt` from `from` on.
fn event(prompt: Prompt, from: usize, parent: Option<u64>, names: &[u64], says: Says) -> BlockStored {
    let names = names.iter().copied();
    let tokens = &prompt.tokens()[from * BLOCK_SIZE..][..names.len() * BLOCK_SIZE];
    let described = BlockStored {
        lora_name: prompt.adapter().map(Into::into),
        block_size: 2,
        ..stored(parent, names.clone(), tokens)
    };
    let extra_keys = (from..).take(names.len()).map(|block| prompt.extra_keys(block)).collect();
    match says {
        Says::Content => BlockStored { extra_keys, ..described },
        Says::SecondGroup => BlockStored { extra_keys, group_idx: GroupIdx(1), ..described },
        Says::Described(medium) => BlockStored { medium, ..described },
        Says::NamesOnly(medium) => offloaded(medium, names),
        Says::OtherSize => BlockStored { extra_keys, block_size: 3, ..described },
        // Of one block that would be all of it, without its keys: no engine does that.
        Says::Sparse if names.len() < 2 => BlockStored { extra_keys, ..described },
        Says::Sparse => BlockStored { block_hashes: described.block_hashes[names.len() / 2..].into(), ..described },
        Says::SlidingWindow => {
            BlockStored { extra_keys, group_idx: GroupIdx(2), spec_kind: SpecKind::SlidingWindow, ..described }
        }
    }
}
