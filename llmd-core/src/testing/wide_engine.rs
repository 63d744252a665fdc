//! Engines of every model that do at random what real ones do, and say so: for comparing an index at full width with the
//! model.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::Step;
use super::prompt::{BLOCK_SIZE, Prompt, WIDE_DEPTH, wide_prompt};
use crate::event::{BlockRemoved, BlockStored, KvEvent, SpecKind};
use crate::index::WorkerState;
use crate::{ExternalBlockHash, GroupIdx, Locality, Medium, WorkerId};

/// Copies that fit into an engine's cache.
const CAPACITY: usize = 24;
const WORKERS: usize = 3;

/// The cache groups of a model: kind, window, and how many blocks of the index one of their blocks covers.
type Model = &'static [(SpecKind, Option<u32>, usize)];

const FULL: SpecKind = SpecKind::FullAttention;
const MODELS: [Model; 8] = [
    &[(FULL, None, 1)],
    &[(FULL, None, 2)],
    &[(FULL, None, 1), (FULL, None, 1)],
    &[(SpecKind::SlidingWindow, Some(4), 1), (FULL, None, 1)],
    &[(SpecKind::SlidingWindow, Some(6), 2), (SpecKind::SlidingWindow, Some(6), 2), (FULL, None, 1)],
    &[(SpecKind::Mamba, None, 2), (FULL, None, 2)],
    &[(FULL, None, 1), (SpecKind::Mamba, None, 2), (SpecKind::SlidingWindow, Some(5), 1)],
    &[(FULL, None, 2), (SpecKind::ChunkedLocalAttention, None, 1), (SpecKind::Mamba, None, 1)],
];

/// What an engine is made to do.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Compute the blocks `from..to` of a prompt. Of its sparse groups each keeps those of the bits.
    Compute {
        prompt: Prompt,
        from: usize,
        to: usize,
        kept: u8,
    },
    /// Name the part of a block that ends with this block of the index, in the groups of the bits.
    Part {
        prompt: Prompt,
        at: usize,
        groups: u8,
    },
    /// Store the blocks `from..to` where they can be loaded from.
    Offload {
        prompt: Prompt,
        from: usize,
        to: usize,
        tier: (Medium, Locality),
        described: bool,
    },
    /// Lose a copy from anywhere.
    Evict {
        nth: usize,
    },
    /// Remove from the shared storage what may or may not be there.
    Withdraw {
        prompt: Prompt,
        at: usize,
    },
    Clear,
    Restart,
    /// Go on as if nothing was, while the index forgets what was said.
    Mistrust,
    Leave,
    Judge(WorkerState),
}

/// What three engines of tiny caches do at random, with blocks of two tokens in the index, each with a model of its own:
/// dense, in blocks of one size or another, or hybrid with sliding windows, states and parts of blocks. Sparse groups
/// keep some blocks only, or name none; all may use tiers of their own and storage that is shared; and there are
/// evictions anywhere, adapters and salts, restarts, lost trust, and groups of which nobody knows what a hit is.
pub fn full_width_engines() -> impl Strategy<Value = Vec<Step>> {
    let models = proptest::array::uniform3(0..MODELS.len());
    let actions = proptest::collection::vec((0..WORKERS, action()), 0..80);
    (models, actions).prop_map(|(models, actions)| {
        let mut engines: Vec<_> = (0..WORKERS).map(|worker| Engine::new(worker, MODELS[models[worker]])).collect();
        actions.into_iter().map(|(worker, action)| engines[worker].act(action)).collect()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let prompt =
        || (any::<u8>(), prop_oneof![9 => Just(0_u8), 3 => 1..4_u8]).prop_map(|(n, space)| wide_prompt(n, space));
    let from = || prop_oneof![2 => Just(0), 1 => 0..WIDE_DEPTH];
    let to = || prop_oneof![1 => Just(WIDE_DEPTH), 2 => 0..WIDE_DEPTH];
    let range = || (from(), to()).prop_map(|(from, to)| (from, to.max(from)));
    let kept = prop_oneof![Just(0_u8), Just(u8::MAX), any::<u8>()];
    let tier = prop_oneof![
        3 => Just((Medium::Cpu, Locality::Local)),
        1 => Just((Medium::Storage, Locality::Local)),
        3 => Just((Medium::Storage, Locality::Remote)),
    ];
    let judged = prop_oneof![4 => Just(WorkerState::Exact), 1 => Just(WorkerState::Recovering)];
    prop_oneof![
        50 => (prompt(), range(), kept).prop_map(|(prompt, (from, to), kept)| Action::Compute { prompt, from, to, kept }),
        8 => (prompt(), 0..WIDE_DEPTH, any::<u8>()).prop_map(|(prompt, at, groups)| Action::Part { prompt, at, groups }),
        6 => (prompt(), range(), tier, any::<bool>()).prop_map(|(prompt, (from, to), tier, described)| {
            Action::Offload { prompt, from, to, tier, described }
        }),
        25 => (0..CAPACITY).prop_map(|nth| Action::Evict { nth }),
        2 => (prompt(), 0..WIDE_DEPTH).prop_map(|(prompt, at)| Action::Withdraw { prompt, at }),
        1 => Just(Action::Clear),
        1 => Just(Action::Restart),
        1 => Just(Action::Mistrust),
        1 => Just(Action::Leave),
        10 => judged.prop_map(Action::Judge),
    ]
}

/// An engine with a cache of a few copies; the oldest goes when it is full.
#[derive(Debug)]
struct Engine {
    worker: WorkerId,
    model: Model,
    /// Every prefix that was ever named: a prompt, and its last block. The name is its number.
    names: BTreeMap<(Prompt, usize), u64>,
    cache: VecDeque<(GroupIdx, Medium, u64)>,
}

impl Engine {
    fn new(worker: usize, model: Model) -> Self {
        let worker = WorkerId(u32::try_from(worker).expect("they are few"));
        Self { worker, model, names: BTreeMap::new(), cache: VecDeque::new() }
    }

    fn act(&mut self, action: Action) -> Step {
        let events = match action {
            Action::Compute { prompt, from, to, kept } => self.compute(prompt, from, to, kept),
            Action::Part { prompt, at, groups } => self.part(prompt, at, groups),
            Action::Offload { prompt, from, to, tier, described } => {
                vec![KvEvent::BlockStored(self.offload(prompt, (from, to), tier, described))]
            }
            Action::Evict { nth } => self.evict(nth).into_iter().collect(),
            Action::Withdraw { prompt, at } => vec![self.withdraw(prompt, at)],
            Action::Clear => {
                self.cache.retain(|&(_, medium, _)| medium != Medium::Gpu);
                vec![KvEvent::AllBlocksCleared]
            }
            Action::Restart => {
                self.cache.clear();
                self.names.clear();
                return Step::Clear(self.worker);
            }
            Action::Mistrust => return Step::Clear(self.worker),
            Action::Leave => {
                self.cache.clear();
                return Step::Remove(self.worker);
            }
            Action::Judge(state) => return Step::SetState(self.worker, state),
        };
        Step::Apply(self.worker, events)
    }

    fn compute(&mut self, prompt: Prompt, from: usize, to: usize, kept: u8) -> Vec<KvEvent> {
        let widest = self.model.iter().map(|(.., span)| *span).max().unwrap_or(1);
        let (from, to) = (from / widest * widest, to / widest * widest);
        let mut events = Vec::new();
        for group in 0..self.model.len() {
            let (kind, _, span) = self.model[group];
            let ends: Vec<_> = (from + span - 1..to).step_by(span).collect();
            let is_kept = |end: &usize| kind.is_full() || kept >> (end / span) & 1 != 0;
            let named: Vec<_> = ends.into_iter().filter(is_kept).collect();
            events.push(KvEvent::BlockStored(self.stored(prompt, (from, to), &named, group, span)));
        }
        self.crowd_out(&mut events);
        events
    }

    fn part(&mut self, prompt: Prompt, at: usize, groups: u8) -> Vec<KvEvent> {
        let mut events = Vec::new();
        for group in 0..self.model.len() {
            let (.., span) = self.model[group];
            if !(at + 1).is_multiple_of(span) && groups >> group & 1 != 0 {
                events.push(KvEvent::BlockStored(self.stored(prompt, (at, at + 1), &[at], group, 1)));
            }
        }
        self.crowd_out(&mut events);
        events
    }

    fn crowd_out(&mut self, events: &mut Vec<KvEvent>) {
        while self.cache.len() > CAPACITY {
            events.extend(self.evict(0));
        }
    }

    /// What `group` says of the blocks `from..to` of `prompt`, of which it names those that end with `named`.
    fn stored(
        &mut self,
        prompt: Prompt,
        (from, to): (usize, usize),
        named: &[usize],
        group: usize,
        span: usize,
    ) -> BlockStored {
        let (spec_kind, sliding_window, _) = self.model[group];
        let group_idx = GroupIdx(u32::try_from(group).expect("they are few"));
        let names: Vec<_> = named.iter().map(|&end| self.name(prompt, end)).collect();
        self.cache.extend(names.iter().map(|&name| (group_idx, Medium::Gpu, name)));
        BlockStored {
            block_hashes: super::names(names),
            parent_block_hash: from.checked_sub(1).map(|before| ExternalBlockHash::from_int(self.name(prompt, before))),
            token_ids: prompt.wide_tokens()[from * BLOCK_SIZE..to * BLOCK_SIZE].to_vec(),
            block_size: u32::try_from(span * BLOCK_SIZE).expect("a block is small"),
            lora_name: prompt.adapter().map(Into::into),
            extra_keys: named.iter().map(|end| prompt.extra_keys(end + 1 - span)).collect(),
            group_idx,
            spec_kind,
            sliding_window,
            ..BlockStored::default()
        }
    }

    /// What a tier says of the blocks `from..to` of the first full group, if it has stored them.
    fn offload(
        &mut self,
        prompt: Prompt,
        (from, to): (usize, usize),
        (medium, locality): (Medium, Locality),
        described: bool,
    ) -> BlockStored {
        let group = self.model.iter().position(|(kind, ..)| kind.is_full()).expect("every model has one");
        let (.., span) = self.model[group];
        let (from, to) = (from / span * span, to / span * span);
        let named: Vec<_> = (from + span - 1..to).step_by(span).collect();
        let cached = self.cache.len();
        let stored = BlockStored { medium, locality, ..self.stored(prompt, (from, to), &named, group, span) };
        let copies = self.cache.split_off(cached);
        if locality == Locality::Local {
            self.cache.extend(copies.into_iter().map(|(group, _, name)| (group, medium, name)));
        }
        if described {
            return stored;
        }
        let BlockStored { block_hashes, group_idx, .. } = stored;
        BlockStored { block_hashes, group_idx, medium, locality, ..BlockStored::default() }
    }

    /// The engine's name for a prefix: the same for the same tokens, in the same namespace.
    fn name(&mut self, prompt: Prompt, end: usize) -> u64 {
        // Beginning at different numbers, so that one's name for a block is another's for another block.
        let next = u64::from(self.worker.0) + self.names.len() as u64;
        *self.names.entry((prompt.up_to(end), end)).or_insert(next)
    }

    fn withdraw(&mut self, prompt: Prompt, at: usize) -> KvEvent {
        let group = self.model.iter().position(|(kind, ..)| kind.is_full()).expect("every model has one");
        KvEvent::BlockRemoved(BlockRemoved {
            block_hashes: super::names([self.name(prompt, at)]),
            medium: Medium::Storage,
            locality: Locality::Remote,
            group_idx: GroupIdx(u32::try_from(group).expect("they are few")),
            ..BlockRemoved::default()
        })
    }

    fn evict(&mut self, nth: usize) -> Option<KvEvent> {
        let (group_idx, medium, name) = self.cache.remove(nth % self.cache.len().max(1))?;
        let block_hashes = super::names([name]);
        Some(KvEvent::BlockRemoved(BlockRemoved { block_hashes, medium, group_idx, ..BlockRemoved::default() }))
    }
}
