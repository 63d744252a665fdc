//! The workers of an index, by name.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::ptr;

use llmd_core::WorkerId;

use super::{LLMD_NO_SEQ, llmd_index, llmd_worker_state};
use crate::boundary::{boundary, given};
use crate::error::llmd_error;
use crate::given::text;
use crate::quiet::quietly;
use crate::status::llmd_status;

/// The id of the worker of this name; gives it one when it is new. LLMD_EXHAUSTED when there are too many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_worker(
    index: Option<&llmd_index>,
    name: *const c_char,
    worker: Option<&mut MaybeUninit<u32>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (index, worker) = (given(index, "index")?, given(worker, "worker")?);
        // SAFETY: as llmd.h says.
        worker.write(index.feed.worker(unsafe { text(name, "name") }?)?.0);
        Ok(())
    })
}

/// The name of a worker; NULL when there is no such worker. Lives as long as the index.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_index_worker_name(index: Option<&llmd_index>, worker: u32) -> *const c_char {
    quietly(ptr::null(), || index.map_or(ptr::null(), |index| index.names.get(&index.feed, WorkerId(worker))))
}

/// How far the answers about a worker can be trusted. LLMD_INVALID when nobody has heard of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_state(
    index: Option<&llmd_index>,
    worker: *const c_char,
    state: Option<&mut MaybeUninit<llmd_worker_state>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (index, state) = (given(index, "index")?, given(state, "state")?);
        // SAFETY: as llmd.h says.
        state.write(index.feed.state(unsafe { text(worker, "worker") }?)?.into());
        Ok(())
    })
}

/// From which number on the engine of a worker should replay, inclusive; LLMD_NO_SEQ when nothing is missing. LLMD_INVALID
/// when nobody has heard of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_missing_from(
    index: Option<&llmd_index>,
    worker: *const c_char,
    seq: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (index, seq) = (given(index, "index")?, given(seq, "seq")?);
        // SAFETY: as llmd.h says.
        seq.write(index.feed.missing_from(unsafe { text(worker, "worker") }?)?.unwrap_or(LLMD_NO_SEQ));
        Ok(())
    })
}

/// Forgets the blocks of a worker whose engine was told to empty its cache. It is exact again when its stream says that all
/// blocks are gone, or begins anew. LLMD_INVALID when nobody has heard of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_clear(
    index: Option<&llmd_index>,
    worker: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(index, "index")?.feed.clear(unsafe { text(worker, "worker") }?)
    })
}

/// Forgets a worker. Who comes by the same name later has another id. LLMD_INVALID when nobody has heard of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_remove_worker(
    index: Option<&llmd_index>,
    worker: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(index, "index")?.feed.remove_worker(unsafe { text(worker, "worker") }?)
    })
}
