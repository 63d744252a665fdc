//! One of the engines.

use std::collections::{BTreeMap, VecDeque};

use super::super::prompt::{BLOCK_SIZE, Prompt};
use super::super::{Step, names};
use super::{Action, CAPACITY, Model};
use crate::event::{BlockRemoved, BlockStored, KvEvent};
use crate::{ExternalBlockHash, GroupIdx, Locality, Medium, WorkerId};

/// An engine with a cache of a few copies; the oldest goes when it is full.
#[derive(Debug)]
pub(super) struct Engine {
    worker: WorkerId,
    model: Model,
    /// Every prefix that was ever named: a prompt, and its last block. The name is its number.
    names: BTreeMap<(Prompt, usize), u64>,
    cache: VecDeque<(GroupIdx, Medium, u64)>,
}

impl Engine {
    pub(super) fn new(worker: usize, model: Model) -> Self {
        let worker = WorkerId(u32::try_from(worker).expect("they are few"));
        Self { worker, model, names: BTreeMap::new(), cache: VecDeque::new() }
    }

    pub(super) fn act(&mut self, action: Action) -> Step {
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

    /// What `group` says of the blocks `from..to` of `prompt`, of which it names those at `ends`.
    fn stored(
        &mut self,
        prompt: Prompt,
        (from, to): (usize, usize),
        ends: &[usize],
        group: usize,
        span: usize,
    ) -> BlockStored {
        let (spec_kind, sliding_window, _) = self.model[group];
        let group_idx = GroupIdx(u32::try_from(group).expect("they are few"));
        let named: Vec<_> = ends.iter().map(|&end| self.name(prompt, end)).collect();
        self.cache.extend(named.iter().map(|&name| (group_idx, Medium::Gpu, name)));
        BlockStored {
            block_hashes: names(named.iter().copied()),
            parent_block_hash: from.checked_sub(1).map(|before| ExternalBlockHash::from_int(self.name(prompt, before))),
            token_ids: prompt.wide_tokens()[from * BLOCK_SIZE..to * BLOCK_SIZE].to_vec(),
            block_size: u32::try_from(span * BLOCK_SIZE).expect("a block is small"),
            lora_name: prompt.adapter().map(Into::into),
            extra_keys: ends.iter().map(|end| prompt.extra_keys(end + 1 - span)).collect(),
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
            block_hashes: names([self.name(prompt, at)]),
            medium: Medium::Storage,
            locality: Locality::Remote,
            group_idx: GroupIdx(u32::try_from(group).expect("they are few")),
            ..BlockRemoved::default()
        })
    }

    fn evict(&mut self, nth: usize) -> Option<KvEvent> {
        let (group_idx, medium, name) = self.cache.remove(nth % self.cache.len().max(1))?;
        let block_hashes = names([name]);
        Some(KvEvent::BlockRemoved(BlockRemoved { block_hashes, medium, group_idx, ..BlockRemoved::default() }))
    }
}
