//! Bytes that are made for the caller.
#![expect(unsafe_code, reason = "a symbol that C can name is declared so")]

use std::ptr;

use crate::quiet::quietly;

/// Bytes that were made for the caller, who frees them.
#[derive(Debug)]
pub struct llmd_bytes(Vec<u8>);

impl llmd_bytes {
    pub(crate) const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The bytes. They live as long as the object; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_bytes_data(bytes: Option<&llmd_bytes>) -> *const u8 {
    bytes.map_or(ptr::null(), |bytes| bytes.0.as_ptr())
}

/// How many bytes there are. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_bytes_len(bytes: Option<&llmd_bytes>) -> usize {
    bytes.map_or(0, |bytes| bytes.0.len())
}

/// Frees bytes. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_bytes_free(bytes: Option<Box<llmd_bytes>>) {
    quietly((), || drop(bytes));
}
