//! Where each worker's prefix ends, and why, as numbers.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::MaybeUninit;

use llmd_core::index::{BlockFate, PrefixIndex as _, WorkerExplanation};

use super::answer::llmd_overlap;
use super::fed::llmd_worker_state;
use super::llmd_index;
use crate::boundary::{boundary, given};
use crate::error::llmd_error;
use crate::filled::fill;
use crate::given::items;
use crate::namespace::{llmd_namespace, namespace};
use crate::status::llmd_status;

/// What became of a block that a worker does not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_block_fate {
    /// There is no such block: the prompt ends there, or it is held all the same.
    LLMD_FATE_NONE = 0,
    /// It was stored once, and removed.
    LLMD_FATE_EVICTED = 1,
    /// It was gone with all others.
    LLMD_FATE_CLEARED = 2,
    /// Nothing says that it was ever stored; or it was so long ago that it is forgotten.
    LLMD_FATE_NEVER_STORED = 3,
    /// The worker holds blocks of these tokens, of a size that cannot be put together to this one.
    LLMD_FATE_OTHER_BLOCK_SIZE = 4,
    /// The worker holds a block of these tokens, under another adapter or salt.
    LLMD_FATE_OTHER_NAMESPACE = 5,
    /// Nothing says that it was ever stored, but events are missing that may.
    LLMD_FATE_UNHEARD = 6,
    /// A fate that this header does not know.
    LLMD_FATE_OTHER = 7,
}

/// Where one worker's prefix of a prompt ends, and why.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_ending {
    /// Who, and how many leading blocks it holds.
    pub overlap: llmd_overlap,
    /// How far that can be trusted.
    pub state: llmd_worker_state,
    /// What became of the first block behind the prefix.
    pub fate: llmd_block_fate,
    /// Which block that is, counted from 0.
    pub ends: u32,
    /// Tokens per block there, of LLMD_FATE_OTHER_BLOCK_SIZE; 0 otherwise.
    pub block_size: u32,
    /// When it was removed, of LLMD_FATE_EVICTED, in seconds of the engine's clock; 0 otherwise.
    pub evicted_at: f64,
    /// Of a hybrid model, the first cache group that did not allow a longer hit; -1 when the prompt ends there, and for every
    /// other model.
    pub limited_by: i64,
    /// How many blocks behind the end of the prefix are held all the same, and are of no use.
    pub held_behind: usize,
    /// How many blocks the worker holds of which the index does not know where in which prompt they stand.
    pub unplaced: usize,
}

impl llmd_ending {
    fn new(index: &llmd_index, worker: &WorkerExplanation) -> Self {
        let (mut block_size, mut evicted_at) = (0, 0.0);
        let fate = match worker.next {
            None => llmd_block_fate::LLMD_FATE_NONE,
            Some(BlockFate::Evicted { at }) => {
                evicted_at = at;
                llmd_block_fate::LLMD_FATE_EVICTED
            }
            Some(BlockFate::Cleared) => llmd_block_fate::LLMD_FATE_CLEARED,
            Some(BlockFate::NeverStored) => llmd_block_fate::LLMD_FATE_NEVER_STORED,
            Some(BlockFate::OtherBlockSize { block_size: size }) => {
                block_size = size;
                llmd_block_fate::LLMD_FATE_OTHER_BLOCK_SIZE
            }
            Some(BlockFate::OtherNamespace) => llmd_block_fate::LLMD_FATE_OTHER_NAMESPACE,
            Some(BlockFate::Unheard) => llmd_block_fate::LLMD_FATE_UNHEARD,
            Some(_) => llmd_block_fate::LLMD_FATE_OTHER,
        };
        Self {
            overlap: llmd_overlap::new(index.names.get(&index.feed, worker.worker()), &worker.overlap),
            state: worker.state.into(),
            fate,
            ends: worker.ends,
            block_size,
            evicted_at,
            limited_by: worker.limited_by.map_or(-1, |group| i64::from(group.0)),
            held_behind: worker.held_behind,
            unplaced: worker.unplaced,
        }
    }
}

/// Writes to `endings` where each worker's prefix of the prompt ends, and why: every worker that the index knows, by id.
/// `endings_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else
/// is written then. For people, not for every request: llmd_index_explain says the same in words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_endings(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    endings: *mut llmd_ending,
    endings_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let index = given(index, "index")?;
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        let reader = index.feed.reader();
        let explained = reader.explain(&reader.hasher().chain(tokens, &namespace));
        let told = explained.workers.iter().map(|worker| llmd_ending::new(index, worker));
        // SAFETY: as llmd.h says.
        unsafe { fill(endings, endings_len, told, "endings") }
    })
}
