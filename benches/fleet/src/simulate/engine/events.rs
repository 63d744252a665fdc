//! What the engine says about its caches, as an index reads it.

use llmd_core::event::{BlockRemoved, BlockStored, KvEvent};
use llmd_core::{ExternalBlockHash, Medium, TokenId};

use super::name::Name;

/// Events since they were last taken. Where nobody listens, nothing is written down.
#[derive(Debug, Default)]
pub(super) struct Events {
    heard: bool,
    events: Vec<KvEvent>,
}

impl Events {
    pub(super) const fn new(heard: bool) -> Self {
        Self { heard, events: Vec::new() }
    }

    pub(super) const fn is_heard(&self) -> bool {
        self.heard
    }

    /// Blocks of one chain are in GPU memory.
    pub(super) fn stored(
        &mut self,
        parent: Option<Name>,
        names: impl Iterator<Item = Name>,
        tokens: impl Iterator<Item = TokenId>,
        block_size: usize,
    ) {
        let mut event = BlockStored::default();
        event.parent_block_hash = parent.map(ExternalBlockHash::from_int);
        event.block_hashes = names.map(ExternalBlockHash::from_int).collect();
        event.token_ids = tokens.collect();
        event.block_size = block_size as u32;
        self.events.push(KvEvent::BlockStored(event));
    }

    /// A block is in host memory; engines say no more of it than its name.
    pub(super) fn offloaded(&mut self, name: Name) {
        if !self.heard {
            return;
        }
        let name = ExternalBlockHash::from_int(name);
        if let Some(KvEvent::BlockStored(last)) = self.events.last_mut()
            && last.medium == Medium::Cpu
        {
            last.block_hashes.push(name);
            return;
        }
        let mut event = BlockStored::default();
        (event.medium, event.block_hashes) = (Medium::Cpu, vec![name]);
        self.events.push(KvEvent::BlockStored(event));
    }

    /// A copy of a block is gone. Removals that follow each other are one.
    pub(super) fn removed(&mut self, name: Name, medium: Medium) {
        if !self.heard {
            return;
        }
        let name = ExternalBlockHash::from_int(name);
        if let Some(KvEvent::BlockRemoved(last)) = self.events.last_mut()
            && last.medium == medium
        {
            last.block_hashes.push(name);
            return;
        }
        let mut event = BlockRemoved::default();
        (event.medium, event.block_hashes) = (medium, vec![name]);
        self.events.push(KvEvent::BlockRemoved(event));
    }

    pub(super) fn take(&mut self) -> Vec<KvEvent> {
        std::mem::take(&mut self.events)
    }
}
