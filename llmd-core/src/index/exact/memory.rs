//! What is remembered of blocks that are gone.

use std::collections::VecDeque;

use super::super::BlockFate;
use super::super::snapshot::GoneRecord;
use super::shared::Shared;
use crate::{BlockHash, ExternalBlockHash, WorkerId};

/// The blocks of one worker whose last copy went, oldest removal first. What became of them stands where readers find
/// it, with the number of the removal: a block that went twice is there once, and in here twice.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gone: VecDeque<Gone>,
    removals: u64,
}

#[derive(Debug)]
struct Gone {
    name: ExternalBlockHash,
    block: Option<BlockHash>,
    removal: u64,
}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.gone.len()
    }

    /// The removals, oldest first, each with what readers are told of it.
    pub(super) fn records<'a>(&'a self, worker: WorkerId, shared: &'a Shared) -> impl Iterator<Item = GoneRecord> {
        self.gone.iter().map(move |gone| {
            let fate = gone.block.and_then(|block| shared.fates.pin().get(&(worker, block)).copied());
            let fate = fate.filter(|&(_, removal)| removal == gone.removal).map(|(fate, _)| fate);
            GoneRecord { name: gone.name.clone(), block: gone.block, fate }
        })
    }

    /// Remembers a removal of which a snapshot tells; gives its number.
    pub(super) fn take_up(
        &mut self,
        worker: WorkerId,
        name: ExternalBlockHash,
        block: Option<BlockHash>,
        fate: Option<BlockFate>,
        shared: &Shared,
    ) -> u64 {
        match fate {
            Some(fate) => self.remember(worker, name, block, fate, shared),
            None => self.count(name, block),
        }
    }

    /// Remembers that a block went; gives the number of its removal.
    pub(super) fn remember(
        &mut self,
        worker: WorkerId,
        name: ExternalBlockHash,
        block: Option<BlockHash>,
        fate: BlockFate,
        shared: &Shared,
    ) -> u64 {
        let removal = self.count(name, block);
        if let Some(block) = block {
            shared.fates.pin().insert((worker, block), (fate, removal));
        }
        removal
    }

    fn count(&mut self, name: ExternalBlockHash, block: Option<BlockHash>) -> u64 {
        self.removals += 1;
        self.gone.push_back(Gone { name, block, removal: self.removals });
        self.removals
    }

    /// Forgets the oldest removal; gives the name of its block and its number.
    pub(super) fn forget_oldest(&mut self, worker: WorkerId, shared: &Shared) -> Option<(ExternalBlockHash, u64)> {
        let gone = self.gone.pop_front()?;
        if let Some(block) = gone.block {
            let fates = shared.fates.pin();
            if fates.get(&(worker, block)).is_some_and(|&(_, removal)| removal == gone.removal) {
                fates.remove(&(worker, block));
            }
        }
        Some((gone.name, gone.removal))
    }

    pub(super) fn clear(&mut self, worker: WorkerId, shared: &Shared) {
        while self.forget_oldest(worker, shared).is_some() {}
    }
}
