//! Text that is made for the caller.
#![expect(unsafe_code, reason = "a symbol that C can name is declared so")]

use std::ffi::{CString, c_char};
use std::ptr;

use crate::quiet::quietly;

/// A text that was made for the caller, who frees it.
#[derive(Debug)]
pub struct llmd_string(CString);

impl llmd_string {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(terminated(text))
    }
}

/// The text, ending with NUL. A NUL inside it, which C could not see past, is replaced.
pub(crate) fn terminated(text: impl Into<String>) -> CString {
    let text = text.into();
    let text = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
    CString::new(text).expect("every NUL was replaced")
}

/// The text: UTF-8 that ends with NUL. Lives as long as the string; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_string_text(string: Option<&llmd_string>) -> *const c_char {
    string.map_or(ptr::null(), |string| string.0.as_ptr())
}

/// How many bytes the text has, without the NUL. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_string_len(string: Option<&llmd_string>) -> usize {
    string.map_or(0, |string| string.0.as_bytes().len())
}

/// Frees a string. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_string_free(string: Option<Box<llmd_string>>) {
    quietly((), || drop(string));
}
