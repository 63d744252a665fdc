//! What the C interface made for us, and takes back.

#![expect(unsafe_code, reason = "giving a handle back takes its pointer")]

use std::fmt;
use std::ptr::NonNull;

use llmd_core::{Error, ErrorKind, Result};

use super::capi::{Destroy, Status, guarded};

/// A handle that is ours alone, and is given back when it is dropped.
pub(super) struct Owned<T> {
    pointer: NonNull<T>,
    destroy: Destroy<T>,
}

impl<T> Owned<T> {
    /// What `make` writes to the place that it is given, and `destroy` takes back.
    ///
    /// # Errors
    ///
    /// When it does not say that it is done: then there is nothing to take back.
    pub(super) fn new(make: impl FnOnce(*mut *mut T) -> Status, destroy: Destroy<T>, what: &str) -> Result<Self> {
        let mut pointer = std::ptr::null_mut();
        let status = make(&mut pointer);
        match NonNull::new(pointer) {
            Some(pointer) if status == Status::DONE => Ok(Self { pointer, destroy }),
            _ => Err(failed(status, format_args!("cannot make {what}"))),
        }
    }

    /// The handle, for as long as this is kept.
    pub(super) fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the interface made the handle, nobody else gives it back, and the library is never unloaded.
        guarded(|| unsafe { (self.destroy)(self.pointer.as_ptr()) });
    }
}

/// What a call says that was not done.
pub(super) fn failed(status: Status, what: impl fmt::Display) -> Error {
    let kind = match status {
        Status::INVALID => ErrorKind::Invalid,
        Status::NOT_FOUND => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("NIXL: {what}: {status}"))
}

/// Nothing, when it was done.
pub(super) fn done(status: Status, what: impl fmt::Display) -> Result<()> {
    if status == Status::DONE { Ok(()) } else { Err(failed(status, what)) }
}
