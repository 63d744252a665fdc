//! The three kinds of events.

use std::sync::Arc;

use llmd_core::event::{self, KvEvent};
use pyo3::prelude::*;

use super::words::{ExtraKey, Name, locality};

/// One thing that happened to an engine's cache.
#[derive(Debug, IntoPyObject)]
pub(crate) enum Event {
    Stored(BlockStored),
    Removed(BlockRemoved),
    Cleared(AllBlocksCleared),
}

/// The events as objects, which are made now; what is in them, when it is asked for.
pub(crate) fn events(events: &Arc<Vec<KvEvent>>) -> Vec<Event> {
    let place = |at| Place { events: Arc::clone(events), at };
    let object = |(at, event): (usize, &KvEvent)| match event {
        KvEvent::AllBlocksCleared => Some(Event::Cleared(AllBlocksCleared)),
        KvEvent::BlockRemoved(_) => Some(Event::Removed(BlockRemoved(place(at)))),
        KvEvent::BlockStored(_) => Some(Event::Stored(BlockStored(place(at)))),
        _ => None,
    };
    events.iter().enumerate().filter_map(object).collect()
}

/// One event among those of its batch.
#[derive(Debug)]
struct Place {
    events: Arc<Vec<KvEvent>>,
    at: usize,
}

impl Place {
    fn event(&self) -> &KvEvent {
        &self.events[self.at]
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.event() == other.event()
    }
}

/// Every block in GPU memory is gone.
#[pyclass(frozen, eq, module = "llmd_py")]
#[derive(Debug, PartialEq)]
pub(crate) struct AllBlocksCleared;

#[pymethods]
impl AllBlocksCleared {
    fn __repr__(&self) -> &'static str {
        "<AllBlocksCleared>"
    }
}

/// One copy of each of these blocks is gone.
#[pyclass(frozen, eq, module = "llmd_py")]
#[derive(Debug, PartialEq)]
pub(crate) struct BlockRemoved(Place);

impl BlockRemoved {
    fn event(&self) -> &event::BlockRemoved {
        let KvEvent::BlockRemoved(event) = self.0.event() else { unreachable!("it was made of one") };
        event
    }
}

#[pymethods]
impl BlockRemoved {
    /// The engine's names: integers, or bytes.
    #[getter]
    fn block_hashes(&self) -> Vec<Name> {
        Name::all(&self.event().block_hashes)
    }

    /// What they lay on: `"GPU"`, `"CPU"` or `"STORAGE"`.
    #[getter]
    fn medium(&self) -> &'static str {
        self.event().medium.as_str()
    }

    /// The KV-cache group.
    #[getter]
    fn group_idx(&self) -> u32 {
        self.event().group_idx.0
    }

    /// Whether others read the tier too: `"LOCAL"` or `"REMOTE"`.
    #[getter]
    fn locality(&self) -> &'static str {
        locality(self.event().locality)
    }

    /// The tier that held them, where there is more than one.
    #[getter]
    fn ownership(&self) -> Option<&str> {
        self.event().ownership.as_deref()
    }

    fn __repr__(&self) -> String {
        let event = self.event();
        format!("<BlockRemoved: {} blocks from {}>", event.block_hashes.len(), event.medium)
    }
}

/// One copy of each of these blocks is there now: consecutive blocks, first block first.
#[pyclass(frozen, eq, module = "llmd_py")]
#[derive(Debug, PartialEq)]
pub(crate) struct BlockStored(Place);

impl BlockStored {
    fn event(&self) -> &event::BlockStored {
        let KvEvent::BlockStored(event) = self.0.event() else { unreachable!("it was made of one") };
        event
    }
}

#[pymethods]
impl BlockStored {
    /// The engine's names: integers, or bytes. May be fewer than `token_ids` has blocks.
    #[getter]
    fn block_hashes(&self) -> Vec<Name> {
        Name::all(&self.event().block_hashes)
    }

    /// The name of the block before the first; `None` at the start of a prompt, and in hash-only events.
    #[getter]
    fn parent_block_hash(&self) -> Option<Name> {
        self.event().parent_block_hash.as_ref().map(Name::new)
    }

    /// The tokens of the blocks; empty in hash-only events of offload tiers.
    #[getter]
    fn token_ids(&self) -> Vec<u32> {
        self.event().token_ids.clone()
    }

    /// Tokens per block; 0 in hash-only events.
    #[getter]
    fn block_size(&self) -> u32 {
        self.event().block_size
    }

    /// The number of the adapter, from engines that say no name.
    #[getter]
    fn lora_id(&self) -> Option<i64> {
        self.event().lora_id
    }

    /// The name of the adapter.
    #[getter]
    fn lora_name(&self) -> Option<&str> {
        self.event().lora_name.as_deref()
    }

    /// What the blocks lie on: `"GPU"`, `"CPU"` or `"STORAGE"`.
    #[getter]
    fn medium(&self) -> &'static str {
        self.event().medium.as_str()
    }

    /// Whether others read the tier too: `"LOCAL"` or `"REMOTE"`.
    #[getter]
    fn locality(&self) -> &'static str {
        locality(self.event().locality)
    }

    /// The tier that holds them, where there is more than one.
    #[getter]
    fn ownership(&self) -> Option<&str> {
        self.event().ownership.as_deref()
    }

    /// The tenant's salt, from engines that say it here and not among the extra keys.
    #[getter]
    fn cache_salt(&self) -> Option<&str> {
        self.event().cache_salt.as_deref()
    }

    /// What besides tokens entered each block's hash: one list per name in `block_hashes`, or none at all. A multimodal
    /// item is a tuple of its identifier and where it begins, counted from the block's first token.
    #[getter]
    fn extra_keys(&self) -> Vec<Vec<ExtraKey>> {
        self.event().extra_keys.iter().map(|keys| keys.iter().map(ExtraKey::new).collect()).collect()
    }

    /// The KV-cache group.
    #[getter]
    fn group_idx(&self) -> u32 {
        self.event().group_idx.0
    }

    /// Whether a hit in the group is a run of blocks from the start of a prompt.
    #[getter]
    fn full_attention(&self) -> bool {
        self.event().spec_kind.is_full()
    }

    /// How far a sliding window reaches, in tokens.
    #[getter]
    fn sliding_window(&self) -> Option<u32> {
        self.event().sliding_window
    }

    /// The session of the request that stored them.
    #[getter]
    fn session_id(&self) -> Option<&str> {
        self.event().session_id.as_deref()
    }

    fn __repr__(&self) -> String {
        let event = self.event();
        format!("<BlockStored: {} blocks of {} on {}>", event.block_hashes.len(), event.block_size, event.medium)
    }
}
