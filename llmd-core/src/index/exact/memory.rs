//! What is remembered of blocks that are gone.

use std::collections::VecDeque;

use super::super::BlockFate;
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

    /// Remembers that a block went; gives the number of its removal.
    pub(super) fn remember(
        &mut self,
        worker: WorkerId,
        name: ExternalBlockHash,
        block: Option<BlockHash>,
        fate: BlockFate,
        shared: &Shared,
    ) -> u64 {
        self.removals += 1;
        if let Some(block) = block {
            shared.fates.pin().insert((worker, block), (fate, self.removals));
        }
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
