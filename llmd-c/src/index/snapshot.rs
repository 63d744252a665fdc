//! Keeping an index as bytes.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::MaybeUninit;

use llmd_core::feed::Feed;

use super::{llmd_index, llmd_index_settings, read};
use crate::boundary::{delivered, given, made};
use crate::bytes::llmd_bytes;
use crate::error::llmd_error;
use crate::given::items;
use crate::status::llmd_status;

/// Everything that an index knows, as bytes for llmd_index_restore. They hold the secret that it names blocks with, so only
/// their owner should be able to read them. Whoever feeds the index waits meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_index_snapshot(
    index: Option<&llmd_index>,
    snapshot: Option<&mut MaybeUninit<Option<Box<llmd_bytes>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(snapshot, "snapshot", error, || Ok(llmd_bytes::new(given(index, "index")?.feed.snapshot())))
}

/// The index that was written into a snapshot; NULL when it cannot be restored. Block size and secret are the snapshot's, the
/// limits those of `settings`. Workers keep their names and get new ids; each is recovering until its engine proves that it
/// is the same: llmd_index_missing_from says from where it should replay. LLMD_CORRUPT when the bytes are damaged or no
/// snapshot, LLMD_UNSUPPORTED when a newer version wrote them, LLMD_EXHAUSTED when they hold more than the limits allow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_restore(
    settings: *const llmd_index_settings,
    snapshot: *const u8,
    snapshot_len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_index>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let ((index, limits), snapshot) = unsafe { (read(settings)?, items(snapshot, snapshot_len, "snapshot")?) };
        Feed::restore_with_limits(index, limits, snapshot).map(llmd_index::new)
    })
}
