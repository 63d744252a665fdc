//! What went wrong, as an object of the caller's.
#![expect(unsafe_code, reason = "a symbol that C can name is declared so")]

use std::error::Error as _;
use std::ffi::{CString, c_char};
use std::ptr;

use llmd_core::Error;
use llmd_routing::plugin::Refusal;

use crate::quiet::quietly;
use crate::status::llmd_status;
use crate::string::terminated;

/// What went wrong: a status and a message. The caller's to free.
#[derive(Debug)]
pub struct llmd_error {
    status: llmd_status,
    message: CString,
    /// The HTTP status of the answer; 0 when it does not mean one.
    http_status: u16,
    reason: Option<CString>,
}

impl llmd_error {
    pub(crate) const fn status(&self) -> llmd_status {
        self.status
    }
}

impl From<Error> for llmd_error {
    fn from(error: Error) -> Self {
        let status = error.kind().into();
        if let Some(refusal) = Refusal::of(&error) {
            let reason = refusal.reason.map(terminated);
            return Self { status, message: terminated(error.to_string()), http_status: refusal.status, reason };
        }
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self { status, message: terminated(message), http_status: 0, reason: None }
    }
}

/// The status that the call returned with this error. LLMD_OK for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_error_status(error: Option<&llmd_error>) -> llmd_status {
    error.map_or(llmd_status::LLMD_OK, llmd_error::status)
}

/// What happened: one line that names the value and what was expected. Lives as long as the error; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_error_message(error: Option<&llmd_error>) -> *const c_char {
    error.map_or(ptr::null(), |error| error.message.as_ptr())
}

/// The HTTP status of the answer, where the error means that a request is sent nowhere: 429, 503, … 0 where it does not, and
/// for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_error_http_status(error: Option<&llmd_error>) -> u32 {
    error.map_or(0, |error| u32::from(error.http_status))
}

/// What llm-d says of that in the header `x-llm-d-request-dropped-reason`; NULL where it says nothing, and for NULL. Lives as
/// long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_error_reason(error: Option<&llmd_error>) -> *const c_char {
    error.and_then(|error| error.reason.as_ref()).map_or(ptr::null(), |reason| reason.as_ptr())
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_error_free(error: Option<Box<llmd_error>>) {
    quietly((), || drop(error));
}

#[cfg(test)]
mod tests {
    use llmd_core::ErrorKind;

    use super::*;

    #[test]
    fn the_message_says_the_causes_too() {
        let cause = Error::new(ErrorKind::Invalid, "no room\0at all");
        let error = llmd_error::from(Error::new(ErrorKind::Stale, "lease 4 is not held").with_source(cause));

        assert_eq!(error.message.to_str(), Ok("lease 4 is not held: no room\u{fffd}at all"));
        assert_eq!(error.status(), llmd_status::LLMD_STALE);
    }

    #[test]
    fn a_refusal_says_its_words_once_and_keeps_its_status() {
        let error = llmd_error::from(Error::from(Refusal::saturated("too many wait")));

        assert_eq!(error.message.to_str(), Ok("too many wait"));
        assert_eq!((error.status(), error.http_status), (llmd_status::LLMD_EXHAUSTED, 429));
        assert_eq!(error.reason.as_deref(), Some(c"rejected-saturated"));
    }
}
