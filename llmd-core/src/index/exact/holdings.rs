//! What one worker holds, by its engine's names, and where in which prompt each block stands.

mod kept;

use std::collections::HashMap;

use smallvec::SmallVec;

use super::super::table::Media;
use super::super::{Applied, BlockFate, Held, Resident};
use super::content::{Told, alone, follow, told};
use super::memory::Memory;
use super::named::{Named, Place, Prefix};
use super::orphans::Orphans;
use super::shared::Context;
use crate::event::{BlockRemoved, BlockStored, KvEvent};
use crate::hash::HashScheme as _;
use crate::{ExternalBlockHash, GroupIdx, Medium, WorkerId};

/// How many full-attention cache groups a worker can have; blocks of further ones are not placed.
const MAX_GROUPS: usize = 64;

/// What one worker holds, by its engine's names.
///
/// Names are a worker's own: engines may seed their hashes by chance. A name that is gone stays for as long as it is
/// remembered, so that what is said of it later still finds its place.
#[derive(Debug)]
pub(super) struct Holdings {
    worker: WorkerId,
    names: HashMap<ExternalBlockHash, Named>,
    full_groups: SmallVec<[GroupIdx; 1]>,
    orphans: Orphans,
    memory: Memory,
    held: Held,
    unplaceable: u64,
    incomplete: bool,
    /// Whether names were forgotten, of which one may be the parent that an orphan waits for.
    forgot: bool,
}

impl Holdings {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            names: HashMap::new(),
            full_groups: SmallVec::new(),
            orphans: Orphans::default(),
            memory: Memory::default(),
            held: Held::default(),
            unplaceable: 0,
            incomplete: false,
            forgot: false,
        }
    }

    /// How much is held.
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// How many blocks are remembered that are gone.
    pub(super) fn remembered(&self) -> usize {
        self.memory.len()
    }

    /// How many blocks came in events that cannot be placed.
    pub(super) const fn unplaceable(&self) -> u64 {
        self.unplaceable
    }

    /// Whether readers see everything that is held and can be reached from the start of a prompt.
    pub(super) const fn is_complete(&self) -> bool {
        let lost = self.forgot && self.held.orphans > 0;
        !self.incomplete && !lost && self.held.unplaced == 0
    }

    pub(super) fn residents(&self) -> Vec<Resident> {
        let residents = self.names.iter().flat_map(|(name, named)| {
            named.copies().iter().map(|copies| Resident {
                group: copies.group,
                medium: copies.medium,
                block: name.clone(),
                copies: copies.count,
            })
        });
        residents.collect()
    }

    pub(super) fn apply(&mut self, event: &KvEvent, cx: Context<'_>, applied: &mut Applied) {
        match event {
            KvEvent::AllBlocksCleared => applied.removed += self.empty(Media::GPU, cx),
            KvEvent::BlockRemoved(removed) => self.remove(removed, cx, applied),
            KvEvent::BlockStored(stored) => self.store(stored, cx, applied),
        }
    }

    /// Forgets everything that is held.
    pub(super) fn clear(&mut self, cx: Context<'_>) {
        self.empty(Media::ALL, cx);
        self.names.clear();
        self.full_groups.clear();
        self.orphans.clear();
        self.incomplete = false;
        self.forgot = false;
    }

    /// Forgets what was held and what is remembered.
    pub(super) fn forget(&mut self, cx: Context<'_>) {
        self.clear(cx);
        self.memory.clear(self.worker, cx.shared);
    }

    fn store(&mut self, stored: &BlockStored, cx: Context<'_>, applied: &mut Applied) {
        let places = match told(stored, cx.settings.block_size) {
            Told::Content if self.knows_full_group(stored.group_idx, cx) => true,
            Told::Names => false,
            Told::Content | Told::Nothing => {
                self.unplaceable += stored.block_hashes.len() as u64;
                self.incomplete = true;
                false
            }
        };
        let adapter = stored.adapter();
        for (block, name) in stored.block_hashes.iter().enumerate() {
            if !self.add(name, stored.group_idx, stored.medium, cx) {
                self.incomplete = true;
                applied.dropped += 1;
                continue;
            }
            applied.stored += 1;
            if places && self.names[name].place == Place::Unknown {
                self.place(stored, block, adapter.as_deref(), cx, applied);
            }
        }
    }

    /// Whether `group` is one of those that all must hold a block, from now on or since before.
    fn knows_full_group(&mut self, group: GroupIdx, cx: Context<'_>) -> bool {
        if self.full_groups.contains(&group) {
            return true;
        }
        if self.full_groups.len() == MAX_GROUPS {
            return false;
        }
        self.full_groups.push(group);
        for named in self.names.values_mut() {
            show(named, &self.full_groups, self.worker, cx);
        }
        true
    }

    /// Adds one copy, unless the worker holds all it can.
    fn add(&mut self, name: &ExternalBlockHash, group: GroupIdx, medium: Medium, cx: Context<'_>) -> bool {
        let is_new = self.names.get(name).is_none_or(|named| !named.has(group, medium));
        if is_new && self.held.residents >= cx.settings.max_blocks {
            return false;
        }
        if !self.names.contains_key(name) {
            self.names.insert(name.clone(), Named::default());
        }
        self.change(name, cx, |named| named.add(group, medium));
        true
    }

    /// Finds the place of a block of `stored`, and of all that waited for it; or lets it wait for its parent.
    fn place(
        &mut self,
        stored: &BlockStored,
        block: usize,
        adapter: Option<&str>,
        cx: Context<'_>,
        applied: &mut Applied,
    ) {
        let name = &stored.block_hashes[block];
        let parent = match block {
            0 => stored.parent_block_hash.as_ref(),
            _ => Some(&stored.block_hashes[block - 1]),
        };
        let Some(parent) = parent else {
            let root = cx.hasher().scheme().root();
            let root = Prefix { block: root, parent: root, len: 0 };
            return self.settle(name.clone(), follow(root, stored, block, adapter, cx.hasher()), cx);
        };
        if let Some(before) = self.names.get(parent).and_then(Named::prefix) {
            return self.settle(name.clone(), follow(before, stored, block, adapter, cx.hasher()), cx);
        }
        self.change(name, cx, |named| named.place = Place::Behind);
        self.orphans.keep(parent.clone(), alone(stored, block, parent, cx.settings.block_size));
        applied.orphaned += 1;
        while self.orphans.len() > cx.settings.max_orphans {
            let Some(dropped) = self.orphans.take_oldest() else { break };
            self.change(&dropped.block_hashes[0], cx, |named| named.place = Place::Unknown);
            applied.dropped += 1;
        }
    }

    /// Puts a block at its place, and then all that waited for it, one after the other.
    fn settle(&mut self, name: ExternalBlockHash, prefix: Prefix, cx: Context<'_>) {
        let mut ready = SmallVec::<[_; 1]>::from_buf([(name, prefix)]);
        while let Some((name, prefix)) = ready.pop() {
            self.change(&name, cx, |named| named.place = Place::At(prefix));
            ready.extend(self.orphans.take(&name).into_iter().map(|mut orphan| {
                let behind = follow(prefix, &orphan, 0, orphan.adapter().as_deref(), cx.hasher());
                (orphan.block_hashes.swap_remove(0), behind)
            }));
        }
    }

    fn remove(&mut self, removed: &BlockRemoved, cx: Context<'_>, applied: &mut Applied) {
        for name in &removed.block_hashes {
            match self.change(name, cx, |named| named.remove(removed.group_idx, removed.medium)) {
                Some(true) => applied.removed += 1,
                _ => {
                    applied.unknown_removals += 1;
                    continue;
                }
            }
            if !self.names[name].is_held() {
                self.remember(name, BlockFate::Evicted { at: cx.at }, cx);
            }
        }
    }

    /// Takes every copy on `media` away; says how many there were.
    fn empty(&mut self, media: Media, cx: Context<'_>) -> usize {
        let held: Vec<_> =
            self.names.iter().filter(|(_, named)| named.is_held()).map(|(name, _)| name.clone()).collect();
        let mut removed = 0;
        for name in held {
            removed += self.change(&name, cx, |named| named.remove_all(media)).unwrap_or_default();
            if !self.names[&name].is_held() {
                self.remember(&name, BlockFate::Cleared, cx);
            }
        }
        removed
    }

    /// Remembers what became of a block whose last copy went, and forgets the oldest.
    fn remember(&mut self, name: &ExternalBlockHash, fate: BlockFate, cx: Context<'_>) {
        let named = self.names.get_mut(name).expect("what is gone was held under a name");
        let block = named.prefix().map(|prefix| prefix.block);
        named.removal = self.memory.remember(self.worker, name.clone(), block, fate, cx.shared);
        while self.memory.len() > cx.settings.max_remembered {
            let Some((name, removal)) = self.memory.forget_oldest(self.worker, cx.shared) else { break };
            if self.names.get(&name).is_some_and(|named| !named.is_held() && named.removal == removal) {
                self.names.remove(&name);
                self.forgot = true;
            }
        }
    }

    /// Changes what is known under a name, and with it what is counted and what readers see.
    fn change<T>(&mut self, name: &ExternalBlockHash, cx: Context<'_>, how: impl FnOnce(&mut Named) -> T) -> Option<T> {
        let named = self.names.get_mut(name)?;
        self.held -= named.held();
        let answer = how(named);
        self.held += named.held();
        show(named, &self.full_groups, self.worker, cx);
        Some(answer)
    }
}

/// Lets readers see a block on the media on which every full-attention group holds it.
fn show(named: &mut Named, full_groups: &[GroupIdx], worker: WorkerId, cx: Context<'_>) {
    let Some(prefix) = named.prefix() else { return };
    let media = named.media(full_groups);
    cx.shared.table.change(prefix.block, worker, named.shown, media);
    named.shown = media;
}
