//! Where Rust ends: a panic goes no further, an error becomes a status and an object, and NULL is answered.

use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use llmd_core::{Error, ErrorKind, Result};

use crate::error::llmd_error;
use crate::status::llmd_status;

/// Where a handle that the callee makes goes. What stands there before is not looked at.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<Option<Box<T>>>>;

/// Does the work of one call.
pub(crate) fn boundary(error: Out<'_, llmd_error>, work: impl FnOnce() -> Result<()>) -> llmd_status {
    match caught(work) {
        Ok(()) => llmd_status::LLMD_OK,
        Err(failure) => tell(error, failure),
    }
}

/// The same, for a call that answers with a new handle, or with NULL.
pub(crate) fn made<T>(error: Out<'_, llmd_error>, work: impl FnOnce() -> Result<T>) -> Option<Box<T>> {
    caught(work).map(Box::new).map_err(|failure| tell(error, failure)).ok()
}

/// The same, for a call that puts a new handle at `out`, or NULL when it fails.
pub(crate) fn delivered<T>(
    out: Out<'_, T>,
    name: &str,
    error: Out<'_, llmd_error>,
    work: impl FnOnce() -> Result<T>,
) -> llmd_status {
    let Some(out) = out else {
        return tell(error, null(name));
    };
    let slot = out.write(None);
    boundary(error, || {
        *slot = Some(Box::new(work()?));
        Ok(())
    })
}

/// What a pointer of this name points to.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] for NULL.
pub(crate) fn given<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| null(name))
}

pub(crate) fn null(name: &str) -> Error {
    invalid(format!("{name} is NULL"))
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message.into())
}

/// A panic is a defect of ours: whatever it left half done is behind locks that do not poison, or goes away with it.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Error::new(ErrorKind::Internal, format!("llmd panicked: {}", last_words(panic.as_ref()))))
    })
}

fn last_words(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

fn tell(slot: Out<'_, llmd_error>, failure: Error) -> llmd_status {
    let error = llmd_error::from(failure);
    let status = error.status();
    if let Some(slot) = slot {
        slot.write(Some(Box::new(error)));
    }
    status
}

#[cfg(test)]
#[expect(unsafe_code, reason = "what was handed out is looked at")]
mod tests {
    use super::*;
    use crate::error::{llmd_error_message, llmd_error_status};

    #[test]
    fn a_panic_becomes_an_error_that_says_its_words() {
        let mut slot = MaybeUninit::uninit();
        let status = boundary(Some(&mut slot), || panic!("the sky fell on worker {}", 7));

        assert_eq!(status, llmd_status::LLMD_INTERNAL);
        // SAFETY: a call that fails writes its error.
        let error = unsafe { slot.assume_init() };
        assert_eq!(llmd_error_status(error.as_deref()), llmd_status::LLMD_INTERNAL);
        assert!(!llmd_error_message(error.as_deref()).is_null());
    }

    #[test]
    fn nobody_has_to_take_the_error() {
        assert_eq!(boundary(None, || Err(null("index"))), llmd_status::LLMD_INVALID);
        assert!(made::<u8>(None, || Err(null("index"))).is_none());
        assert_eq!(delivered::<u8>(None, "decision", None, || Ok(1)), llmd_status::LLMD_INVALID);
    }

    #[test]
    fn what_is_not_made_is_null() {
        let mut out = MaybeUninit::uninit();

        assert_eq!(delivered::<u8>(Some(&mut out), "n", None, || Err(null("index"))), llmd_status::LLMD_INVALID);
        // SAFETY: a delivery writes, whatever becomes of it.
        assert!(unsafe { out.assume_init() }.is_none());
    }
}
