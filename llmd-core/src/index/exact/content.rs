//! What a stored event says about its blocks.

use super::super::groups::Kind;
use crate::event::{BlockStored, EventExtraKey, SpecKind};
use crate::hash::{BlockHasher, ExtraKey, HashScheme as _, event_extra_keys};
use crate::{BlockHash, ExternalBlockHash, Medium};

/// What a stored event says about its blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Of which kind its group is and how many blocks of the index each name covers; of a full-attention group, also
    /// what is in each block.
    Content(Kind, u32),
    /// Names only, of blocks that others describe.
    Names,
    /// Nothing that can be used.
    Nothing,
}

/// What `stored` says, to an index of blocks of `unit` tokens.
///
/// Events of offload tiers list no extra keys even where there are some: their tokens alone could put a tenant's block
/// where others find it, so only the names are taken.
pub(super) fn told(stored: &BlockStored, unit: usize) -> Told {
    let size = stored.block_size as usize;
    let span = (size > 0 && size.is_multiple_of(unit)).then_some((size / unit) as u32);
    if !stored.spec_kind.is_full() {
        return match (sparse(stored), span) {
            (Some(_), _) if stored.medium != Medium::Gpu || size == 0 => Told::Names,
            (Some(kind), Some(span)) => Told::Content(kind, span),
            _ => Told::Nothing,
        };
    }
    if stored.token_ids.is_empty() || (stored.medium != Medium::Gpu && stored.extra_keys.is_empty()) {
        return Told::Names;
    }
    match (stored.block_hashes.len(), span) {
        (0, None) => Told::Names,
        (0, Some(span)) => Told::Content(Kind::Full, span),
        (names, Some(span)) if stored.token_ids.len() == names * size && keys_fit(stored, span) => {
            Told::Content(Kind::Full, span)
        }
        _ => Told::Nothing,
    }
}

/// The kind of a group that is not full attention, where there is a rule for it.
fn sparse(stored: &BlockStored) -> Option<Kind> {
    match stored.spec_kind {
        SpecKind::Mamba => Some(Kind::State),
        SpecKind::SlidingWindow | SpecKind::SlidingWindowMla => {
            stored.sliding_window.filter(|&window| window > 0).map(Kind::Window)
        }
        _ => None,
    }
}

/// Whether the keys can be shared out among the blocks: an image or a digest of a name that covers several may belong to
/// any of them.
fn keys_fit(stored: &BlockStored, span: u32) -> bool {
    let is_text = |key: &EventExtraKey| matches!(key, EventExtraKey::Text(_));
    [0, stored.block_hashes.len()].contains(&stored.extra_keys.len())
        && (span == 1 || stored.extra_keys.iter().flatten().all(is_text))
}

/// Appends our own names of the blocks of `stored` from its name number `first` on; `before` is that of the block before
/// them, and `depth` says how many blocks come before.
pub(super) fn names_of(
    stored: &BlockStored,
    first: usize,
    before: BlockHash,
    depth: u32,
    hasher: &BlockHasher,
    out: &mut Vec<BlockHash>,
) {
    let size = stored.block_size as usize;
    let adapter = stored.adapter();
    let (mut parent, mut position) = (before, depth as usize);
    let mut at = first;
    // An adapter and a salt are in the first block of a prompt, and in every name behind it. What has no other keys can
    // be hashed in one go.
    while at < stored.block_hashes.len() {
        if position > 0
            && stored.extra_keys[at.min(stored.extra_keys.len())..].iter().all(|keys| is_bare(keys, adapter.as_deref()))
        {
            hasher.extend(parent, position, &stored.token_ids[at * size..stored.block_hashes.len() * size], out);
            return;
        }
        let mut extra = event_extra_keys(stored, at, adapter.as_deref());
        for tokens in stored.token_ids[at * size..][..size].chunks_exact(hasher.block_size()) {
            parent = hasher.scheme().next(&parent, position, tokens, &extra);
            out.push(parent);
            position += 1;
            extra.retain(|key| matches!(key, ExtraKey::Lora { .. }));
        }
        at += 1;
    }
}

/// Whether a block behind the first of a prompt has no keys of its own.
fn is_bare(keys: &[EventExtraKey], adapter: Option<&str>) -> bool {
    match keys {
        [] => true,
        [EventExtraKey::Text(text)] => adapter == Some(text),
        _ => false,
    }
}

/// What a name of `stored` goes on from; `None` at the beginning of a prompt.
pub(super) fn parent_of(stored: &BlockStored, name: usize) -> Option<&ExternalBlockHash> {
    match name {
        0 => stored.parent_block_hash.as_ref(),
        _ => Some(&stored.block_hashes[name - 1]),
    }
}

/// The event that would have stored one name of `stored` alone.
pub(super) fn alone(stored: &BlockStored, name: usize, parent: &ExternalBlockHash) -> BlockStored {
    let size = stored.block_size as usize;
    BlockStored {
        block_hashes: vec![stored.block_hashes[name].clone()],
        parent_block_hash: Some(parent.clone()),
        token_ids: stored.token_ids[name * size..][..size].to_vec(),
        block_size: stored.block_size,
        extra_keys: stored.extra_keys.get(name).cloned().into_iter().collect(),
        lora_id: stored.lora_id,
        lora_name: stored.lora_name.clone(),
        ..BlockStored::default()
    }
}
