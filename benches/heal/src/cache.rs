//! An engine's cache as its batches tell it: a map from name to copies, slow and obviously right.

use std::collections::HashMap;

use llmd_core::event::KvEvent;
use llmd_core::index::Resident;
use llmd_core::{GroupIdx, Medium, TokenId};
use xxhash_rust::xxh3::xxh3_64;

/// One name in one place.
pub(crate) type Key = (u32, Medium, u64);

/// What an engine holds, folded from what it said.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    copies: HashMap<Key, u32>,
    digest: u64,
    /// The name of the block with these tokens after the block of that name. Names follow from contents, so an engine's
    /// eviction changes nothing here.
    named: HashMap<(Option<u64>, Vec<TokenId>), u64>,
}

impl Cache {
    /// Takes one event.
    pub(crate) fn apply(&mut self, event: &KvEvent) {
        match event {
            KvEvent::AllBlocksCleared => {
                let gpu: Vec<_> = self.copies.keys().copied().filter(|(_, medium, _)| *medium == Medium::Gpu).collect();
                gpu.into_iter().for_each(|key| self.set(key, 0));
            }
            KvEvent::BlockStored(stored) => {
                let names = stored.block_hashes.iter().filter_map(|name| name.as_int());
                let mut parent = stored.parent_block_hash.as_ref().and_then(|name| name.as_int());
                let blocks = stored.token_ids.chunks(stored.block_size.max(1) as usize);
                for (name, tokens) in names.zip(blocks) {
                    self.named.insert((parent, tokens.to_vec()), name);
                    let key = (stored.group_idx.0, stored.medium, name);
                    self.set(key, self.copies.get(&key).copied().unwrap_or(0) + 1);
                    parent = Some(name);
                }
            }
            KvEvent::BlockRemoved(removed) => {
                for name in removed.block_hashes.iter().filter_map(|name| name.as_int()) {
                    let key = (removed.group_idx.0, removed.medium, name);
                    self.set(key, self.copies.get(&key).copied().unwrap_or(0).saturating_sub(1));
                }
            }
            _ => {}
        }
    }

    /// Equal for equal caches, and for no others, as far as chance goes.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many leading blocks of a prompt of group 0 are in GPU memory.
    pub(crate) fn leading(&self, tokens: &[TokenId], block_size: usize) -> u32 {
        let mut parent = None;
        let mut leading = 0;
        for block in tokens.chunks_exact(block_size) {
            let Some(&name) = self.named.get(&(parent, block.to_vec())) else { break };
            if !self.copies.contains_key(&(0, Medium::Gpu, name)) {
                break;
            }
            (parent, leading) = (Some(name), leading + 1);
        }
        leading
    }

    fn set(&mut self, key: Key, copies: u32) {
        let before = if copies == 0 { self.copies.remove(&key) } else { self.copies.insert(key, copies) };
        if let Some(before) = before {
            self.digest ^= mix(key, before);
        }
        if copies > 0 {
            self.digest ^= mix(key, copies);
        }
    }
}

/// The digest of a list, as [`Cache::digest`] has it.
pub(crate) fn digest_of(blocks: impl IntoIterator<Item = (Key, u32)>) -> u64 {
    blocks.into_iter().map(|(key, copies)| mix(key, copies)).fold(0, |digest, block| digest ^ block)
}

/// What an index says that a worker holds, as [`digest_of`] takes it.
pub(crate) fn listed(resident: &Resident) -> (Key, u32) {
    let GroupIdx(group) = resident.group;
    ((group, resident.medium, resident.block.as_int().unwrap_or_default()), resident.copies)
}

fn mix((group, medium, name): Key, copies: u32) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&name.to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::from(copies).to_le_bytes());
    bytes[16..20].copy_from_slice(&group.to_le_bytes());
    bytes[20] = medium.index() as u8;
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use llmd_core::ExternalBlockHash;
    use llmd_core::event::{BlockRemoved, BlockStored};

    use super::*;

    fn names(names: &[u64]) -> Vec<ExternalBlockHash> {
        names.iter().copied().map(ExternalBlockHash::from_int).collect()
    }

    fn stored(parent: Option<u64>, blocks: &[u64], tokens: &[TokenId]) -> KvEvent {
        let mut stored = BlockStored::default();
        stored.block_hashes = names(blocks);
        stored.parent_block_hash = parent.map(ExternalBlockHash::from_int);
        (stored.token_ids, stored.block_size) = (tokens.to_vec(), 2);
        KvEvent::BlockStored(stored)
    }

    fn removed(blocks: &[u64]) -> KvEvent {
        let mut removed = BlockRemoved::default();
        removed.block_hashes = names(blocks);
        KvEvent::BlockRemoved(removed)
    }

    #[test]
    fn a_prompt_leads_as_far_as_its_blocks_are_there() {
        let mut cache = Cache::default();
        cache.apply(&stored(None, &[7, 8], &[1, 2, 3, 4]));
        cache.apply(&stored(Some(8), &[9], &[5, 6]));
        assert_eq!(cache.leading(&[1, 2, 3, 4, 5, 6, 7], 2), 3);
        assert_eq!(cache.leading(&[1, 2, 9, 9, 5, 6], 2), 1);

        cache.apply(&removed(&[8]));
        assert_eq!(cache.leading(&[1, 2, 3, 4, 5, 6], 2), 1);
        cache.apply(&KvEvent::AllBlocksCleared);
        assert_eq!((cache.leading(&[1, 2], 2), cache.digest()), (0, 0));
    }

    #[test]
    fn copies_are_counted_and_the_digest_is_that_of_the_list() {
        let mut cache = Cache::default();
        cache.apply(&stored(None, &[7], &[1, 2]));
        cache.apply(&stored(None, &[7], &[1, 2]));
        let key = (0, Medium::Gpu, 7);
        assert_eq!(cache.digest(), digest_of([(key, 2)]));
        cache.apply(&removed(&[7]));
        assert_eq!(cache.digest(), digest_of([(key, 1)]));
        assert_ne!(digest_of([(key, 1)]), digest_of([(key, 2)]));
    }
}
