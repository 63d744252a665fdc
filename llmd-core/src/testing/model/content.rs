//! What a stored event says about its blocks.

use super::rules::Kind;
use crate::event::{BlockStored, EventExtraKey, SpecKind};
use crate::hash::{BlockHasher, ExtraKey, HashScheme as _, event_extra_keys};
use crate::{BlockHash, Medium};

/// What a stored event says about its blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Of which kind its group is and how many blocks of the index each name covers; of a full-attention group, also
    /// what is in each block.
    Content(Kind, usize),
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
    let span = (size > 0 && size.is_multiple_of(unit)).then_some(size / unit);
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
            stored.sliding_window.filter(|&window| window > 0).map(|window| Kind::Window(window as usize))
        }
        _ => None,
    }
}

/// Whether the keys can be shared out among the blocks: an image or a digest of a name that covers several may belong to
/// any of them.
fn keys_fit(stored: &BlockStored, span: usize) -> bool {
    let is_text = |key: &EventExtraKey| matches!(key, EventExtraKey::Text(_));
    [0, stored.block_hashes.len()].contains(&stored.extra_keys.len())
        && (span == 1 || stored.extra_keys.iter().flatten().all(is_text))
}

/// Adds the blocks of the index that a name of `stored` covers to those before it.
pub(super) fn follow(before: &mut Vec<BlockHash>, stored: &BlockStored, block: usize, hasher: &BlockHasher) {
    let size = stored.block_size as usize;
    let adapter = stored.adapter();
    let mut extra = event_extra_keys(stored, block, adapter.as_deref());
    for tokens in stored.token_ids[block * size..][..size].chunks_exact(hasher.block_size()) {
        let parent = before.last().copied().unwrap_or_else(|| hasher.scheme().root());
        before.push(hasher.scheme().next(&parent, before.len(), tokens, &extra));
        // A salt stands in the first block of a prompt only, an adapter in every one.
        extra.retain(|key| matches!(key, ExtraKey::Lora { .. }));
    }
}
