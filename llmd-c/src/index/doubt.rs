//! What an index is told about engines from elsewhere than their streams, and how old what it knows is.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use super::llmd_index;
use crate::boundary::{boundary, given};
use crate::clock::now;
use crate::error::llmd_error;
use crate::given::text;
use crate::status::llmd_status;

/// The engine of a worker stored at least `blocks` more blocks since this was last told, as something else than its stream says:
/// its counters, or requests that completed. When the stream says nothing of `silence_blocks` of them for `silence_patience_ms`,
/// the worker is approximate from the next telling on, and until a batch comes. LLMD_INVALID when nobody has heard of the worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_stored(
    index: Option<&llmd_index>,
    worker: *const c_char,
    blocks: u64,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(index, "index")?.feed.stored(now(), unsafe { text(worker, "worker") }?, blocks)
    })
}

/// GPU memory of the worker's engine has so many blocks. An engine of which more copies are counted announces hits as if it had
/// stored the blocks; it is never exact. LLMD_INVALID when nobody has heard of the worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_set_gpu_blocks(
    index: Option<&llmd_index>,
    worker: *const c_char,
    blocks: u64,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(index, "index")?.feed.set_gpu_blocks(now(), unsafe { text(worker, "worker") }?, blocks)
    })
}

/// The worker's engine announces hits as if it had stored the blocks, since requests ask it to (vLLM's `kv_cache_report_mode:
/// full`): it is never exact from now on. LLMD_INVALID when nobody has heard of the worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_set_announces_hits(
    index: Option<&llmd_index>,
    worker: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(index, "index")?.feed.set_announces_hits(now(), unsafe { text(worker, "worker") }?)
    })
}

/// How many seconds old the newest batch of a worker is that entered the index, when the engine's clock says `now` in seconds
/// (vLLM's: since 1970); not a number when there is none. Less than nothing, when the clocks differ. LLMD_INVALID when nobody has
/// heard of the worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_lag(
    index: Option<&llmd_index>,
    worker: *const c_char,
    now: f64,
    lag: Option<&mut MaybeUninit<f64>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (index, lag) = (given(index, "index")?, given(lag, "lag")?);
        // SAFETY: as llmd.h says.
        lag.write(index.feed.lag(unsafe { text(worker, "worker") }?, now)?.unwrap_or(f64::NAN));
        Ok(())
    })
}
