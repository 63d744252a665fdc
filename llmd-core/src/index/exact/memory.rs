//! What is remembered of blocks that are gone.

use std::collections::VecDeque;

use super::super::BlockFate;
use super::super::span::Domain;

/// The blocks of one worker whose last copy under a name went, oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gone: VecDeque<Gone>,
}

/// A block that is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gone {
    /// What the engine called it; 0 when that means nothing any longer.
    pub(super) name: u64,
    pub(super) domain: Domain,
    /// Where it stood; `None` when nobody knew.
    pub(super) prefix: Option<Prefix>,
    /// What became of it; `None` when its place was not known when it went.
    pub(super) fate: Option<BlockFate>,
    /// When that was, among all that ever went.
    pub(super) order: u64,
}

/// Some leading blocks of a prompt: the digest of the last one and of the one before it, and how many they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefix {
    pub(super) digest: u64,
    pub(super) before: u64,
    pub(super) depth: u32,
}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.gone.len()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.gone.capacity() * size_of::<Gone>()
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Gone> {
        self.gone.iter()
    }

    pub(super) fn remember(&mut self, gone: Gone) {
        self.gone.push_back(gone);
    }

    pub(super) fn forget_oldest(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// Where the block of a name stood.
    pub(super) fn find(&self, name: u64) -> Option<Prefix> {
        self.gone.iter().rev().find(|gone| gone.name == name && gone.prefix.is_some()).and_then(|gone| gone.prefix)
    }

    /// Where a block stood, by its digest.
    pub(super) fn find_digest(&self, digest: u64) -> Option<Prefix> {
        self.gone.iter().rev().filter_map(|gone| gone.prefix).find(|prefix| prefix.digest == digest)
    }

    /// The place of a name that is remembered without one is known now.
    pub(super) fn place(&mut self, name: u64, prefix: Prefix) {
        self.gone.iter_mut().filter(|gone| gone.name == name).for_each(|gone| gone.prefix = Some(prefix));
    }

    /// Names mean nothing any longer; what became of their blocks is still known.
    pub(super) fn forget_names(&mut self) {
        self.gone.iter_mut().for_each(|gone| gone.name = 0);
    }

    /// What became of a block the last time, and when that was.
    pub(super) fn fate(&self, digest: u64) -> Option<(u64, BlockFate)> {
        let told = self.gone.iter().filter(|gone| gone.prefix.is_some_and(|prefix| prefix.digest == digest));
        told.filter_map(|gone| Some((gone.order, gone.fate?))).max_by_key(|&(order, _)| order)
    }
}
