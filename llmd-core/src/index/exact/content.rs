//! What a stored event says about its blocks.

use super::named::Prefix;
use crate::event::BlockStored;
use crate::hash::{BlockHasher, HashScheme as _, event_extra_keys};
use crate::{ExternalBlockHash, Medium};

/// What a stored event says about where its blocks stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Names, tokens and everything else that entered the hashes.
    Content,
    /// Names only, of blocks that others describe.
    Names,
    /// Nothing that can be used.
    Nothing,
}

/// What `stored` says, to an index of blocks of `size` tokens.
///
/// Events of offload tiers list no extra keys even where there are some: their tokens alone could put a tenant's block
/// where others find it, so only the names are taken.
pub(super) fn told(stored: &BlockStored, size: usize) -> Told {
    let (names, keys) = (stored.block_hashes.len(), stored.extra_keys.len());
    let describes = !stored.token_ids.is_empty() && (stored.medium == Medium::Gpu || keys > 0);
    if !stored.spec_kind.is_full() {
        return Told::Nothing;
    }
    if names == 0 || !describes {
        return Told::Names;
    }
    let is_dense = stored.token_ids.len() == names * size && (keys == 0 || keys == names);
    if is_dense && stored.block_size as usize == size { Told::Content } else { Told::Nothing }
}

/// The prefix that ends with a block of `stored`, when `before` ends with its parent.
pub(super) fn follow(
    before: Prefix,
    stored: &BlockStored,
    block: usize,
    adapter: Option<&str>,
    hasher: &BlockHasher,
) -> Prefix {
    let size = hasher.block_size();
    let tokens = &stored.token_ids[block * size..][..size];
    let extra = event_extra_keys(stored, block, adapter);
    let block = hasher.scheme().next(&before.block, before.len, tokens, &extra);
    Prefix { block, parent: before.block, len: before.len + 1 }
}

/// The event that would have stored one block of `stored` alone.
pub(super) fn alone(stored: &BlockStored, block: usize, parent: &ExternalBlockHash, size: usize) -> BlockStored {
    BlockStored {
        block_hashes: vec![stored.block_hashes[block].clone()],
        parent_block_hash: Some(parent.clone()),
        token_ids: stored.token_ids[block * size..][..size].to_vec(),
        extra_keys: stored.extra_keys.get(block).cloned().into_iter().collect(),
        lora_id: stored.lora_id,
        lora_name: stored.lora_name.clone(),
        ..BlockStored::default()
    }
}
