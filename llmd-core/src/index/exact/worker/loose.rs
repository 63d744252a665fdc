//! Names whose place is not known: of blocks that wait for their parent, and of those whose tokens nobody has said.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::super::Resident;
use super::super::super::roster::Parts;
use crate::{ExternalBlockHash, GroupIdx, Medium};

/// Names whose place is not known, with their copies.
#[derive(Debug, Default)]
pub(super) struct Loose {
    names: HashMap<ExternalBlockHash, Entry>,
    /// For each group how many of the names with copies wait for their parent, and how many do not.
    counts: SmallVec<[(GroupIdx, usize, usize); 1]>,
    /// What readers see of them, if they do.
    shown: Option<Arc<Parts>>,
}

/// What is known of such a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) copies: SmallVec<[Copies; 1]>,
    /// Whether it waits for its parent.
    pub(super) waits: bool,
}

/// Copies of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Copies {
    pub(super) group: GroupIdx,
    pub(super) medium: Medium,
    pub(super) count: u32,
}

impl Loose {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.names.capacity() * (size_of::<(ExternalBlockHash, Entry)>() + 1)
    }

    pub(super) fn get(&self, name: &ExternalBlockHash) -> Option<&Entry> {
        self.names.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ExternalBlockHash, &Entry)> {
        self.names.iter()
    }

    /// Blocks that wait for their parent, each once per group and medium.
    pub(super) fn orphans(&self) -> usize {
        self.counts.iter().map(|&(_, waiting, _)| waiting).sum()
    }

    /// Blocks that do not, but for those of groups that are left out.
    pub(super) fn unplaced(&self, is_left_out: impl Fn(GroupIdx) -> bool) -> usize {
        self.counts.iter().filter(|(group, ..)| !is_left_out(*group)).map(|&(_, _, other)| other).sum()
    }

    pub(super) fn residents(&self) -> Vec<Resident> {
        let of = |(name, entry): (&ExternalBlockHash, &Entry)| {
            let name = name.clone();
            let copies = entry.copies.clone().into_iter();
            copies.map(move |Copies { group, medium, count }| Resident {
                group,
                medium,
                block: name.clone(),
                copies: count,
            })
        };
        self.names.iter().flat_map(of).collect()
    }

    /// Changes what is known of a name; gives what `how` gives.
    pub(super) fn change<T>(&mut self, name: &ExternalBlockHash, how: impl FnOnce(&mut Entry) -> T) -> T {
        if !self.names.contains_key(name) {
            self.names.insert(name.clone(), Entry::default());
        }
        let entry = self.names.get_mut(name).expect("it was put there");
        let before = entry.clone();
        let answer = how(entry);
        let after = entry.clone();
        self.count(&before, false);
        self.count(&after, true);
        self.show(name, &after);
        answer
    }

    /// Takes a name out, for it has a place now.
    pub(super) fn take(&mut self, name: &ExternalBlockHash) -> Option<Entry> {
        let entry = self.names.remove(name)?;
        self.count(&entry, false);
        self.show(name, &Entry::default());
        Some(entry)
    }

    /// A name without copies means nothing any longer.
    pub(super) fn forget(&mut self, name: &ExternalBlockHash) {
        if self.names.get(name).is_some_and(|entry| entry.copies.is_empty()) {
            self.names.remove(name);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What readers are to see, kept up to date from now on.
    pub(super) fn shown(&mut self) -> Arc<Parts> {
        if let Some(shown) = &self.shown {
            return Arc::clone(shown);
        }
        let shown = Arc::clone(self.shown.insert(Arc::default()));
        for (name, entry) in &self.names {
            self.show(name, entry);
        }
        shown
    }

    fn show(&self, name: &ExternalBlockHash, entry: &Entry) {
        let Some(shown) = &self.shown else { return };
        let shown = shown.pin();
        let groups: SmallVec<[GroupIdx; 1]> = entry.on(Medium::Gpu).collect();
        if groups.is_empty() {
            shown.remove(name);
        } else if shown.get(name) != Some(&groups) {
            shown.insert(name.clone(), groups);
        }
    }

    fn count(&mut self, entry: &Entry, more: bool) {
        for copies in &entry.copies {
            let place = self.counts.iter().position(|(group, ..)| *group == copies.group).unwrap_or_else(|| {
                self.counts.push((copies.group, 0, 0));
                self.counts.len() - 1
            });
            let (_, waiting, other) = &mut self.counts[place];
            let count = if entry.waits { waiting } else { other };
            *count = if more { *count + 1 } else { *count - 1 };
        }
    }
}

impl Entry {
    /// The groups that have it on a medium.
    fn on(&self, medium: Medium) -> impl Iterator<Item = GroupIdx> {
        self.copies.iter().filter(move |copies| copies.medium == medium).map(|copies| copies.group)
    }

    /// One copy more; says whether it is the first of its group and medium.
    pub(super) fn add(&mut self, group: GroupIdx, medium: Medium) -> bool {
        match self.copies.iter_mut().find(|copies| copies.group == group && copies.medium == medium) {
            Some(copies) => {
                copies.count = copies.count.saturating_add(1);
                false
            }
            None => {
                self.copies.push(Copies { group, medium, count: 1 });
                true
            }
        }
    }

    /// One copy less; `None` when there is none, else whether it was the last of its group and medium.
    pub(super) fn remove(&mut self, group: GroupIdx, medium: Medium) -> Option<bool> {
        let place = self.copies.iter().position(|copies| copies.group == group && copies.medium == medium)?;
        self.copies[place].count -= 1;
        let is_last = self.copies[place].count == 0;
        if is_last {
            self.copies.swap_remove(place);
        }
        Some(is_last)
    }
}
