//! What is remembered of blocks that are gone.

use std::collections::VecDeque;

use super::super::BlockFate;
use super::super::span::Domain;

/// The blocks of one worker whose last copy under a name went, oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gone: VecDeque<Packed>,
}

/// A [`Gone`], without the room between its parts: there are thousands of them for each worker.
#[derive(Clone, Copy, Debug)]
struct Packed {
    name: u64,
    digest: u64,
    before: u64,
    at: f64,
    order: u64,
    /// 0 when its place is not known.
    depth: u32,
    domain: Domain,
    fate: u8,
}

const NO_FATE: u8 = 0;
const CLEARED: u8 = 1;
const EVICTED: u8 = 2;

impl From<Gone> for Packed {
    fn from(gone: Gone) -> Self {
        let Gone { name, domain, prefix, fate, order } = gone;
        let (digest, before, depth) = prefix.map_or((0, 0, 0), |prefix| (prefix.digest, prefix.before, prefix.depth));
        let (fate, at) = match fate {
            Some(BlockFate::Evicted { at }) => (EVICTED, at),
            Some(BlockFate::Cleared) => (CLEARED, 0.0),
            _ => (NO_FATE, 0.0),
        };
        Self { name, digest, before, at, order, depth, domain, fate }
    }
}

impl From<&Packed> for Gone {
    fn from(packed: &Packed) -> Self {
        let &Packed { name, digest, before, at, order, depth, domain, fate } = packed;
        let prefix = (depth > 0).then_some(Prefix { digest, before, depth });
        let fate = match fate {
            EVICTED => Some(BlockFate::Evicted { at }),
            CLEARED => Some(BlockFate::Cleared),
            _ => None,
        };
        Self { name, domain, prefix, fate, order }
    }
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
        self.gone.capacity() * size_of::<Packed>()
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Gone> {
        self.gone.iter().map(Gone::from)
    }

    pub(super) fn remember(&mut self, gone: Gone) {
        self.gone.push_back(gone.into());
    }

    pub(super) fn forget_oldest(&mut self) -> Option<Gone> {
        self.gone.pop_front().as_ref().map(Gone::from)
    }

    /// Where the block of a name stood.
    pub(super) fn find(&self, name: u64) -> Option<Prefix> {
        let gone = self.gone.iter().rev().find(|gone| gone.name == name && gone.depth > 0)?;
        Gone::from(gone).prefix
    }

    /// Where a block stood, by its digest.
    pub(super) fn find_digest(&self, digest: u64) -> Option<Prefix> {
        let gone = self.gone.iter().rev().find(|gone| gone.digest == digest && gone.depth > 0)?;
        Gone::from(gone).prefix
    }

    /// The place of a name that is remembered without one is known now.
    pub(super) fn place(&mut self, name: u64, prefix: Prefix) {
        let Prefix { digest, before, depth } = prefix;
        for gone in self.gone.iter_mut().filter(|gone| gone.name == name) {
            *gone = Packed { digest, before, depth, ..*gone };
        }
    }

    /// Names mean nothing any longer; what became of their blocks is still known.
    pub(super) fn forget_names(&mut self) {
        self.gone.iter_mut().for_each(|gone| gone.name = 0);
    }

    /// What became of a block the last time, and when that was.
    pub(super) fn fate(&self, digest: u64) -> Option<(u64, BlockFate)> {
        let told = self.gone.iter().filter(|gone| gone.digest == digest && gone.depth > 0);
        told.filter_map(|gone| Some((gone.order, Gone::from(gone).fate?))).max_by_key(|&(order, _)| order)
    }
}
