//! Tokens and bytes as Python has them: read where they lie if that is possible, copied once if not.
//!
//! The GIL is held for short work, for giving it up and taking it back costs more. It is given up for long work; what
//! somebody could write to meanwhile is copied first.

#![expect(unsafe_code, reason = "the buffer protocol lends memory by address")]

mod format;
mod out;
mod payload;
mod pinned;
mod tokens;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyMemoryView;

pub(crate) use out::Out;
pub(crate) use payload::Payload;
pub(crate) use pinned::pinned;
pub(crate) use tokens::{Blocks, Tokens, Workers};

/// How long work may be, in tokens hashed and looked up, for the GIL to be held: some 20 µs.
pub(crate) const HELD_TOKENS: usize = 8_192;

/// How long work may be, in bytes of events decoded and taken, for the GIL to be held: some 20 µs.
pub(crate) const HELD_BYTES: usize = 8_192;

/// The buffer of `object`; `None` when it has none.
///
/// # Errors
///
/// Whatever it raises that has one and does not lend it.
fn buffer_of(object: &Bound<'_, PyAny>) -> PyResult<Option<PyUntypedBuffer>> {
    let py = object.py();
    match PyUntypedBuffer::get(object) {
        Ok(buffer) => Ok(Some(buffer)),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(None),
        // Some say nothing of strides where there are none: a view of them does. A scalar has no shape even so.
        Err(error) if error.is_instance_of::<PyBufferError>(py) => {
            Ok(PyMemoryView::from(object).and_then(|view| PyUntypedBuffer::get(view.as_any())).ok())
        }
        Err(error) => Err(error),
    }
}

/// The name of the class of `object`, for messages.
pub(crate) fn class_of(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// The memory that `buffer` lends, as elements of `T`. `None` when they do not lie one after the other, or not on an
/// address that `T` can have.
///
/// The format is the caller's to check: that the elements have the size of a `T` is checked here.
fn lent<T: Plain>(buffer: &PyUntypedBuffer) -> Option<&[T]> {
    let start = buffer.buf_ptr().cast::<T>();
    if buffer.item_size() != size_of::<T>() || !buffer.is_c_contiguous() || !start.is_aligned() {
        return None;
    }
    let len = buffer.item_count();
    if len == 0 {
        return Some(&[]);
    }
    // SAFETY: the exporter keeps `item_count` elements of `item_size` bytes at `buf_ptr` alive and in place until
    // `buffer` is released, which the borrow forbids; they are contiguous and aligned, and any bits are a `T` (`Plain`).
    // That nobody writes meanwhile: callers hold the GIL while they read (`held` says whether there is one) and copy
    // before they give it up, so no Python code runs. Code that fills a buffer without the GIL while it is being read
    // here does so to every reader of that object, NumPy included; since any bits are a `T`, and nothing is concluded
    // from finding a number twice, what comes of it is an answer to other numbers.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

/// The element at `index` of a buffer of one dimension, wherever it lies.
///
/// # Panics
///
/// When there is no such element.
fn element<T: Plain>(buffer: &PyUntypedBuffer, index: usize) -> T {
    assert_eq!(buffer.item_size(), size_of::<T>(), "the format says the size");
    // SAFETY: `get_ptr` checks the index against the shape and follows strides and suboffsets to an element that the
    // exporter keeps alive as above; it may lie at any address, and any bits are a `T`.
    unsafe { buffer.get_ptr(&[index]).cast::<T>().read_unaligned() }
}

/// Numbers of which any bits are one.
trait Plain: Copy {}

impl Plain for i16 {}
impl Plain for i32 {}
impl Plain for i64 {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}

/// Asks now what else would be asked when the first buffer comes.
pub(crate) fn prepare(py: Python<'_>) {
    held(py);
}

/// Whether holding the GIL keeps other Python code from running. In a free-threaded interpreter nothing does, and what
/// somebody could write to is always copied.
fn held(py: Python<'_>) -> bool {
    static HELD: PyOnceLock<bool> = PyOnceLock::new();
    let ask = || -> PyResult<bool> { py.import("sys")?.getattr("_is_gil_enabled")?.call0()?.extract() };
    *HELD.get_or_init(py, || ask().unwrap_or(true))
}
