//! One event, flat.
#![expect(unsafe_code, reason = "names point into the batch that they are of")]

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use llmd_core::event::{BlockRemoved, BlockStored, KvEvent};
use llmd_core::{ExternalBlockHash, Locality, Medium, Result};

use crate::given::items;
use crate::sized::Sizes;
use crate::string::terminated;

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_event_kind {
    /// Every block in GPU memory is gone.
    LLMD_EVENT_ALL_BLOCKS_CLEARED = 0,
    /// One copy of each block is gone.
    LLMD_EVENT_BLOCK_REMOVED = 1,
    /// One copy of each block is there now.
    LLMD_EVENT_BLOCK_STORED = 2,
    /// A kind that this header does not know.
    LLMD_EVENT_OTHER = 3,
}

/// What a block lies on. Also the place of its count in `llmd_overlap.on`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_medium {
    /// Memory that the engine computes in.
    LLMD_MEDIUM_GPU = 0,
    /// Host memory.
    LLMD_MEDIUM_CPU = 1,
    /// Disks and object stores.
    LLMD_MEDIUM_STORAGE = 2,
    /// A medium that this header does not know.
    LLMD_MEDIUM_OTHER = 3,
}

/// Whether a tier is the engine's own or shared with others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_locality {
    /// Only this engine reads it.
    LLMD_LOCALITY_LOCAL = 0,
    /// Other engines read it too.
    LLMD_LOCALITY_REMOTE = 1,
}

/// An engine's name for a block: an integer, or bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_block_name {
    /// The bytes; NULL when the name is an integer.
    pub bytes: *const u8,
    /// How many bytes there are.
    pub bytes_len: usize,
    /// The integer, when there are no bytes.
    pub number: u64,
}

// SAFETY: the bytes belong to the batch, which nobody changes and which goes after its names.
unsafe impl Send for llmd_block_name {}
// SAFETY: as above.
unsafe impl Sync for llmd_block_name {}

impl llmd_block_name {
    fn new(name: &ExternalBlockHash) -> Self {
        match name.as_bytes() {
            Some(bytes) => Self { bytes: bytes.as_ptr(), bytes_len: bytes.len(), number: 0 },
            None => Self { bytes: ptr::null(), bytes_len: 0, number: name.as_int().unwrap_or_default() },
        }
    }

    /// The name that it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for a length that no memory has.
    ///
    /// # Safety
    ///
    /// The bytes are as `llmd.h` says.
    pub(crate) unsafe fn read(&self) -> Result<ExternalBlockHash> {
        if self.bytes.is_null() {
            return Ok(ExternalBlockHash::from_int(self.number));
        }
        // SAFETY: the caller's promise is the same.
        let bytes = unsafe { items(self.bytes, self.bytes_len, "bytes") }?;
        Ok(ExternalBlockHash::from_bytes(bytes))
    }
}

/// One event. What an event does not say is 0 or NULL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_event {
    /// sizeof(llmd_event).
    pub struct_size: usize,
    /// What happened.
    pub kind: llmd_event_kind,
    /// What the blocks lie on, or lay on.
    pub medium: llmd_medium,
    /// Whether others read the tier too.
    pub locality: llmd_locality,
    /// The KV-cache group.
    pub group: u32,
    /// The engine's names of the blocks, first block first.
    pub blocks: *const llmd_block_name,
    /// How many names there are.
    pub blocks_len: usize,
    /// The name of the block before the first; NULL at the start of a prompt.
    pub parent: *const llmd_block_name,
    /// The tokens of the blocks.
    pub tokens: *const u32,
    /// How many tokens there are.
    pub tokens_len: usize,
    /// Tokens per block; 0 in events that say only names.
    pub block_size: u32,
    /// 1 when a hit in the group is a run of blocks from the start of a prompt (full attention), 0 otherwise.
    pub full_attention: u32,
    /// How far a sliding window reaches, in tokens; 0 for none.
    pub sliding_window: u32,
    /// The adapter; `lora id N` from engines that say only its number.
    pub lora_name: *const c_char,
    /// The tenant's salt, from engines that say it here and not among the extra keys.
    pub cache_salt: *const c_char,
    /// The tier that holds the blocks, where there is more than one.
    pub ownership: *const c_char,
    /// The session of the request that stored them.
    pub session_id: *const c_char,
}

impl Sizes for llmd_event {
    const NAME: &'static str = "llmd_event";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

/// One event, with what C reads of it. Its names, and `tokens`, lie in the batch.
#[derive(Debug)]
pub(super) struct Event {
    kind: llmd_event_kind,
    medium: llmd_medium,
    locality: llmd_locality,
    group: u32,
    names: Vec<llmd_block_name>,
    parent: Option<llmd_block_name>,
    tokens: Tokens,
    block_size: u32,
    full_attention: bool,
    sliding_window: u32,
    lora_name: Option<CString>,
    cache_salt: Option<CString>,
    ownership: Option<CString>,
    session_id: Option<CString>,
}

/// Tokens that lie in the batch.
#[derive(Clone, Copy, Debug)]
struct Tokens(*const u32, usize);

// SAFETY: the tokens belong to the batch, which nobody changes and which goes after its events.
unsafe impl Send for Tokens {}
// SAFETY: as above.
unsafe impl Sync for Tokens {}

impl Event {
    /// What C reads of `event`, which must stay where it is as long as this is used.
    pub(super) fn new(event: &KvEvent) -> Self {
        match event {
            KvEvent::AllBlocksCleared => Self::empty(llmd_event_kind::LLMD_EVENT_ALL_BLOCKS_CLEARED),
            KvEvent::BlockRemoved(removed) => Self::removed(removed),
            KvEvent::BlockStored(stored) => Self::stored(stored),
            _ => Self::empty(llmd_event_kind::LLMD_EVENT_OTHER),
        }
    }

    fn removed(removed: &BlockRemoved) -> Self {
        Self {
            medium: medium(removed.medium),
            locality: locality(removed.locality),
            group: removed.group_idx.0,
            names: removed.block_hashes.iter().map(llmd_block_name::new).collect(),
            ownership: removed.ownership.as_deref().map(terminated),
            ..Self::empty(llmd_event_kind::LLMD_EVENT_BLOCK_REMOVED)
        }
    }

    fn stored(stored: &BlockStored) -> Self {
        Self {
            medium: medium(stored.medium),
            locality: locality(stored.locality),
            group: stored.group_idx.0,
            names: stored.block_hashes.iter().map(llmd_block_name::new).collect(),
            parent: stored.parent_block_hash.as_ref().map(llmd_block_name::new),
            tokens: Tokens(pointer(&stored.token_ids), stored.token_ids.len()),
            block_size: stored.block_size,
            full_attention: stored.spec_kind.is_full(),
            sliding_window: stored.sliding_window.unwrap_or_default(),
            lora_name: stored.adapter().map(terminated),
            cache_salt: stored.cache_salt.as_deref().map(terminated),
            ownership: stored.ownership.as_deref().map(terminated),
            session_id: stored.session_id.as_deref().map(terminated),
            ..Self::empty(llmd_event_kind::LLMD_EVENT_BLOCK_STORED)
        }
    }

    const fn empty(kind: llmd_event_kind) -> Self {
        Self {
            kind,
            medium: llmd_medium::LLMD_MEDIUM_GPU,
            locality: llmd_locality::LLMD_LOCALITY_LOCAL,
            group: 0,
            names: Vec::new(),
            parent: None,
            tokens: Tokens(ptr::null(), 0),
            block_size: 0,
            full_attention: false,
            sliding_window: 0,
            lora_name: None,
            cache_salt: None,
            ownership: None,
            session_id: None,
        }
    }

    pub(super) fn told(&self, struct_size: usize) -> llmd_event {
        let text = |text: &Option<CString>| text.as_deref().map_or(ptr::null(), CStr::as_ptr);
        llmd_event {
            struct_size,
            kind: self.kind,
            medium: self.medium,
            locality: self.locality,
            group: self.group,
            blocks: pointer(&self.names),
            blocks_len: self.names.len(),
            parent: self.parent.as_ref().map_or(ptr::null(), |parent| &raw const *parent),
            tokens: self.tokens.0,
            tokens_len: self.tokens.1,
            block_size: self.block_size,
            full_attention: u32::from(self.full_attention),
            sliding_window: self.sliding_window,
            lora_name: text(&self.lora_name),
            cache_salt: text(&self.cache_salt),
            ownership: text(&self.ownership),
            session_id: text(&self.session_id),
        }
    }
}

/// NULL for nothing.
const fn pointer<T>(items: &[T]) -> *const T {
    if items.is_empty() { ptr::null() } else { items.as_ptr() }
}

const fn medium(medium: Medium) -> llmd_medium {
    match medium {
        Medium::Gpu => llmd_medium::LLMD_MEDIUM_GPU,
        Medium::Cpu => llmd_medium::LLMD_MEDIUM_CPU,
        Medium::Storage => llmd_medium::LLMD_MEDIUM_STORAGE,
        _ => llmd_medium::LLMD_MEDIUM_OTHER,
    }
}

const fn locality(locality: Locality) -> llmd_locality {
    match locality {
        Locality::Remote => llmd_locality::LLMD_LOCALITY_REMOTE,
        _ => llmd_locality::LLMD_LOCALITY_LOCAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_medium_has_its_place_in_an_overlap() {
        for known in Medium::ALL {
            assert_eq!(medium(known) as usize, known.index());
        }
    }
}
