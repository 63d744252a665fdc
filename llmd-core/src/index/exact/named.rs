//! What is known under one of an engine's names.

use smallvec::SmallVec;

use super::super::Held;
use super::super::table::Media;
use crate::{BlockHash, GroupIdx, Medium};

/// What is known under one of an engine's names.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) place: Place,
    copies: SmallVec<[Copies; 2]>,
    /// Where readers see it.
    pub(super) shown: Media,
    /// The number of the removal that took the last copy, the last time that happened.
    pub(super) removal: u64,
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Place {
    /// At the end of this prefix.
    At(Prefix),
    /// Behind a parent that has no place yet.
    Behind,
    /// No event has said.
    #[default]
    Unknown,
}

/// Some leading blocks of a prompt: the names of the last one and of the one before it, and how many they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefix {
    pub(super) block: BlockHash,
    /// The root of the scheme, when there is none before.
    pub(super) parent: BlockHash,
    pub(super) len: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    pub(super) group: GroupIdx,
    pub(super) medium: Medium,
    pub(super) count: u32,
}

impl Named {
    pub(super) fn with_copies(copies: impl IntoIterator<Item = Copies>) -> Self {
        Self { copies: copies.into_iter().collect(), ..Self::default() }
    }

    pub(super) const fn prefix(&self) -> Option<Prefix> {
        match self.place {
            Place::At(prefix) => Some(prefix),
            Place::Behind | Place::Unknown => None,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        !self.copies.is_empty()
    }

    pub(super) fn copies(&self) -> &[Copies] {
        &self.copies
    }

    pub(super) fn has(&self, group: GroupIdx, medium: Medium) -> bool {
        self.find(group, medium).is_some()
    }

    pub(super) fn add(&mut self, group: GroupIdx, medium: Medium) {
        match self.find(group, medium) {
            Some(place) => self.copies[place].count = self.copies[place].count.saturating_add(1),
            None => self.copies.push(Copies { group, medium, count: 1 }),
        }
    }

    /// Takes one copy away; says whether there was one.
    pub(super) fn remove(&mut self, group: GroupIdx, medium: Medium) -> bool {
        let Some(place) = self.find(group, medium) else { return false };
        self.copies[place].count -= 1;
        if self.copies[place].count == 0 {
            self.copies.swap_remove(place);
        }
        true
    }

    /// Takes all copies on `media` away; says how many there were.
    pub(super) fn remove_all(&mut self, media: Media) -> usize {
        let mut removed = 0;
        self.copies.retain(|copies| {
            let goes = media.contains(copies.medium);
            removed += if goes { copies.count as usize } else { 0 };
            !goes
        });
        removed
    }

    /// The media on which every one of `groups` holds it.
    pub(super) fn media(&self, groups: &[GroupIdx]) -> Media {
        let everywhere = Medium::ALL.into_iter().filter(|&medium| groups.iter().all(|&group| self.has(group, medium)));
        everywhere.filter(|_| !groups.is_empty()).fold(Media::NONE, Media::with)
    }

    pub(super) fn held(&self) -> Held {
        let residents = self.copies.len();
        let count = |counted: bool| if counted { residents } else { 0 };
        let orphans = count(self.place == Place::Behind);
        let unplaced = count(self.place == Place::Unknown);
        Held { residents, orphans, unplaced }
    }

    fn find(&self, group: GroupIdx, medium: Medium) -> Option<usize> {
        self.copies.iter().position(|copies| copies.group == group && copies.medium == medium)
    }
}
