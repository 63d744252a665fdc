//! Who holds which block: an index that is fed with the engines' messages.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

mod answer;
mod chain;
mod doubt;
mod ending;
mod fed;
mod names;
mod query;
mod snapshot;
mod stats;
mod workers;

use std::mem::{MaybeUninit, offset_of};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;
use llmd_core::feed::{Feed, FeedSettings};
use llmd_core::index::IndexSettings;

pub use self::answer::{LLMD_MEDIA, llmd_overlap};
pub use self::chain::{
    llmd_chain, llmd_chain_blocks, llmd_chain_extend, llmd_chain_free, llmd_chain_new, llmd_chain_query,
    llmd_chain_query_dense, llmd_chain_set_names,
};
pub use self::doubt::{llmd_index_lag, llmd_index_set_announces_hits, llmd_index_set_gpu_blocks, llmd_index_stored};
pub use self::ending::{llmd_block_fate, llmd_ending, llmd_index_endings};
pub use self::fed::{
    LLMD_NO_SEQ, llmd_fed, llmd_index_apply, llmd_index_apply_trtllm, llmd_index_give_up, llmd_worker_state,
};
use self::names::Names;
pub use self::query::{llmd_index_explain, llmd_index_query, llmd_index_query_dense};
pub use self::snapshot::{llmd_index_restore, llmd_index_snapshot};
pub use self::stats::{llmd_index_stats, llmd_stats};
pub use self::workers::{
    llmd_index_clear, llmd_index_missing_from, llmd_index_remove_worker, llmd_index_state, llmd_index_worker,
    llmd_index_worker_name,
};
use crate::boundary::made;
use crate::error::llmd_error;
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, settings};

/// An exact index of who holds which block. May be used by several threads at once: those who ask do not wait for those who
/// feed it. A scheduler or an endpoint that was made with it keeps what it needs of it, and may outlive it.
#[derive(Clone, Debug)]
pub struct llmd_index {
    pub(crate) feed: Feed,
    names: Arc<Names>,
}

impl llmd_index {
    fn new(feed: Feed) -> Self {
        Self { feed, names: Arc::new(Names::new()) }
    }
}

/// What an index is made with. Where nothing else is said, a limit is per worker.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_index_settings {
    /// sizeof(llmd_index_settings).
    pub struct_size: usize,
    /// Tokens per block, as the engines have it. Default: 16.
    pub block_size: usize,
    /// How many blocks a worker can hold, a block once for each of its groups and media. Default: 4,194,304.
    pub max_blocks: usize,
    /// How many blocks can wait for their parent. Default: 16,384.
    pub max_orphans: usize,
    /// How many blocks that are gone are remembered, with when they went. Default: 4,096.
    pub max_remembered: usize,
    /// How many workers there can be, in all. Default: 4,096.
    pub max_workers: usize,
    /// How many bytes a payload can have. Default: 64 MiB.
    pub max_payload: usize,
    /// How many batches may wait while those before them are missing. Default: 4,096.
    pub max_waiting: usize,
    /// How long what is missing is waited for, in milliseconds. Default: 10,000.
    pub recover_within_ms: u64,
    /// Not 0 where no engine can replay: what is missing is then given up at once.
    pub without_replay: usize,
    /// How many blocks an engine must have stored, as llmd_index_stored tells, of which its stream says nothing, until it is
    /// approximate. Default: 64.
    pub silence_blocks: u64,
    /// How long its stream may say nothing of them, in milliseconds. Default: 5,000.
    pub silence_patience_ms: u64,
}

impl Sizes for llmd_index_settings {
    const NAME: &'static str = "llmd_index_settings";
    const SIZES: &'static [usize] = &[offset_of!(Self, silence_blocks), size_of::<Self>()];
}

// SAFETY: numbers, in C's layout, with the size first.
unsafe impl Settings for llmd_index_settings {}

/// An empty index; NULL when it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_new(
    settings: *const llmd_index_settings,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_index>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let (index, feed) = unsafe { read(settings) }?;
        Feed::with_limits(index, feed).map(llmd_index::new)
    })
}

unsafe fn read(given: *const llmd_index_settings) -> Result<(IndexSettings, FeedSettings)> {
    // SAFETY: as llmd.h says.
    let given = unsafe { settings(given) }?;
    let or = |value: usize, default: usize| if value == 0 { default } else { value };
    let (index, feed) = (IndexSettings::default(), FeedSettings::default());
    let recover_within = match (given.without_replay, given.recover_within_ms) {
        (0, 0) => feed.recover_within,
        (0, ms) => Duration::from_millis(ms),
        _ => Duration::ZERO,
    };
    let mut silence = feed.silence;
    if given.silence_blocks > 0 {
        silence.min_blocks = given.silence_blocks;
    }
    if given.silence_patience_ms > 0 {
        silence.patience = Duration::from_millis(given.silence_patience_ms);
    }
    let index = index
        .with_block_size(or(given.block_size, index.block_size))
        .with_max_blocks(or(given.max_blocks, index.max_blocks))
        .with_max_orphans(or(given.max_orphans, index.max_orphans))
        .with_max_remembered(or(given.max_remembered, index.max_remembered));
    let feed = feed
        .with_max_workers(or(given.max_workers, feed.max_workers))
        .with_max_payload(or(given.max_payload, feed.max_payload))
        .with_max_waiting(or(given.max_waiting, feed.max_waiting))
        .with_recover_within(recover_within)
        .with_silence(silence);
    Ok((index, feed))
}

/// Frees an index. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_index_free(index: Option<Box<llmd_index>>) {
    quietly((), || drop(index));
}
