//! What one worker said, and where that puts its blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content::{Told, follow, told};
use super::rules::{Group, Kind, Rule};
use crate::event::BlockStored;
use crate::hash::BlockHasher;
use crate::{BlockHash, ExternalBlockHash, GroupIdx, Medium};

#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) copies: BTreeMap<(ExternalBlockHash, GroupIdx, Medium), u32>,
    /// Names of blocks on the pool's storage whose place is not known.
    pub(super) waiting: BTreeSet<ExternalBlockHash>,
    /// The first event that said what is in a block, and which of its blocks that is.
    content: BTreeMap<ExternalBlockHash, (Arc<BlockStored>, usize)>,
    /// What its groups are, as the first word of each has it.
    groups: BTreeMap<GroupIdx, Group>,
    said_what_cannot_be_placed: bool,
    spoke_of_other_media: bool,
    /// Whether a block was ever held under two names at once.
    has_two_names: bool,
}

/// Where a name stands: every block of the index up to the last that it covers.
pub(super) struct Place {
    path: Vec<BlockHash>,
    span: usize,
}

impl Place {
    /// The block that it stands at.
    pub(super) fn at(&self) -> BlockHash {
        *self.path.last().expect("a name covers a block")
    }

    /// The blocks that it covers.
    pub(super) fn covered(&self) -> &[BlockHash] {
        &self.path[self.path.len() - self.span..]
    }
}

impl Said {
    /// Learns from an event what blocks contain; says how many of them wait for their parent.
    pub(super) fn take(&mut self, stored: &BlockStored, hasher: &BlockHasher) -> usize {
        self.spoke_of_other_media |= stored.medium != Medium::Gpu && !stored.block_hashes.is_empty();
        let (kind, span) = match told(stored, hasher.block_size()) {
            Told::Content(kind, span) => (kind, span),
            Told::Names => return 0,
            Told::Nothing => {
                self.said_what_cannot_be_placed = true;
                return 0;
            }
        };
        let group = self.groups.entry(stored.group_idx).or_insert_with(|| Group::new(kind));
        if group.kind != kind {
            self.said_what_cannot_be_placed = true;
            return 0;
        }
        if stored.medium == Medium::Gpu {
            group.spans.insert(span);
        }
        if kind == Kind::Full { self.learn(stored, hasher) } else { 0 }
    }

    /// What lies on the pool's storage and has a place by now goes there.
    pub(super) fn pour(&mut self, pool: &mut BTreeSet<BlockHash>, hasher: &BlockHasher) {
        for name in self.waiting.clone() {
            if let Some(place) = self.place(&name, hasher) {
                pool.extend(place.covered());
                self.waiting.remove(&name);
            }
        }
    }

    /// Looks whether a block is held under two names.
    pub(super) fn compare_names(&mut self, hasher: &BlockHasher) {
        let names: BTreeSet<_> = self.copies.keys().map(|(name, ..)| name).collect();
        let places: Vec<_> = names.iter().filter_map(|name| Some(self.place(name, hasher)?.at())).collect();
        self.has_two_names |= places.iter().collect::<BTreeSet<_>>().len() < places.len();
    }

    fn learn(&mut self, stored: &BlockStored, hasher: &BlockHasher) -> usize {
        let stored = Arc::new(stored.clone());
        let mut orphaned = 0;
        for (block, name) in stored.block_hashes.iter().enumerate() {
            if !self.content.contains_key(name) {
                self.content.insert(name.clone(), (Arc::clone(&stored), block));
                orphaned += usize::from(self.place(name, hasher).is_none());
            }
        }
        orphaned
    }

    /// Where a name stands, if the engine has said what is in its block and in every block before it.
    pub(super) fn place(&self, name: &ExternalBlockHash, hasher: &BlockHasher) -> Option<Place> {
        let mut names = Vec::new();
        let mut next = Some(name);
        while let Some(name) = next {
            let (stored, block) = self.content.get(name).filter(|_| names.len() < self.content.len())?;
            names.push((stored, *block));
            next = match block {
                0 => stored.parent_block_hash.as_ref(),
                _ => Some(&stored.block_hashes[block - 1]),
            };
        }
        let mut path = Vec::new();
        for (stored, block) in names.into_iter().rev() {
            follow(&mut path, stored, block, hasher);
        }
        Some(Place { path, span: self.content[name].0.block_size as usize / hasher.block_size() })
    }

    pub(super) fn is_sparse(&self, group: GroupIdx) -> bool {
        self.groups.get(&group).is_some_and(|group| group.kind != Kind::Full)
    }

    /// The groups that all must hold a block.
    pub(super) fn full_groups(&self) -> impl Iterator<Item = GroupIdx> + Clone {
        self.groups.iter().filter(|(_, group)| group.kind == Kind::Full).map(|(&idx, _)| idx)
    }

    /// What a hit is.
    pub(super) fn rule(&self) -> Rule<'_> {
        Rule::new(&self.groups)
    }

    /// How many blocks stand nobody knows where, each once per group and medium. Those of sparse groups are not counted:
    /// what the full groups do not name, no hit can reach.
    pub(super) fn unplaced(&self) -> usize {
        let counts = |(name, group, _): &&(_, GroupIdx, _)| !self.content.contains_key(name) && !self.is_sparse(*group);
        self.copies.keys().filter(counts).count() + self.waiting.len()
    }

    /// Whether every answer is right, once everything was heard.
    pub(super) fn is_complete(&self, hasher: &BlockHasher) -> bool {
        let waits = |name| self.content.contains_key(name) && self.place(name, hasher).is_none();
        let is_understood = match self.rule() {
            // Groups name a block alike, so one that they hold under two names is no hit, though each of them holds it.
            Rule::AllAlike { .. } => !(self.has_two_names && self.groups.len() > 1),
            Rule::Lookup(_) if self.spoke_of_other_media => false,
            // Parts of blocks can be hit, and their parents are parts that may have no name of their own.
            Rule::Lookup(lookup) if lookup.hits_parts() => {
                !lookup.has_window() && !self.copies.keys().any(|(name, ..)| waits(name))
            }
            Rule::Lookup(_) => true,
        };
        is_understood && !self.said_what_cannot_be_placed && self.unplaced() == 0
    }
}
