//! Which llmd this is.
#![expect(unsafe_code, reason = "a symbol that C can name is declared so")]

use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL"),
};

/// The version of the library, such as `0.1.0`. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_version() -> *const c_char {
    VERSION.as_ptr()
}
