//! Memory of the caller's that stays ours for as long as we want it.
#![expect(unsafe_code, reason = "the buffer protocol lends memory by address")]

use std::ptr::NonNull;

use llmd_kvxfer::Region;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use super::buffer_of;
use crate::error::invalid;

/// The memory of `object`, which keeps it there until nobody has the region; `None` when it lends none.
///
/// A view keeps it, and not the buffer itself: the last who has the region may be a thread that must not wait for the GIL, and what it
/// drops is dropped by whoever holds that next.
///
/// # Errors
///
/// `InvalidError` for memory that cannot be written to, does not lie in one piece, or has no bytes.
pub(crate) fn pinned(object: &Bound<'_, PyAny>) -> PyResult<Option<Region>> {
    match buffer_of(object) {
        Ok(None) => return Ok(None),
        Ok(Some(buffer)) => buffer.release(object.py()),
        // Arrays of types that buffers do not know raise, and are tensors even so.
        Err(_) if object.hasattr("__dlpack__")? => return Ok(None),
        Err(error) => return Err(error),
    }
    let view = PyMemoryView::from(object)?;
    let Some(buffer) = buffer_of(view.as_any())? else { return Ok(None) };
    if buffer.readonly() {
        return Err(invalid("memory that cannot be written to, expected a writable buffer"));
    }
    if !buffer.is_c_contiguous() && !buffer.is_fortran_contiguous() {
        return Err(invalid("memory that does not lie in one piece, expected a contiguous buffer"));
    }
    let start = NonNull::new(buffer.buf_ptr().cast()).filter(|_| buffer.len_bytes() > 0);
    let start = start.ok_or_else(|| invalid("memory of 0 bytes, expected at least 1"))?;
    // SAFETY: the view has the buffer of `object`, so that its memory stays where it is, writable, until the view is gone; nobody
    // but the region has the view, and so nobody releases it before.
    let region = unsafe { Region::adopt_pointer(start, buffer.len_bytes(), view.clone().unbind()) };
    buffer.release(object.py());
    Ok(Some(region))
}
