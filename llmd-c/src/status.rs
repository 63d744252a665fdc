//! What a call came to.
#![expect(unsafe_code, reason = "a symbol that C can name is declared so")]

use std::ffi::{c_char, c_int};

use llmd_core::ErrorKind;

/// What a call came to, and so what to do next. `LLMD_OK` is 0; everything else is a kind of error, and there will be a new
/// one only where a caller would act differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_status {
    /// It was done.
    LLMD_OK = 0,
    /// Bytes are not what they claim to be: drop them, count it, go on.
    LLMD_CORRUPT = 1,
    /// The caller may not do this: do not retry.
    LLMD_DENIED = 2,
    /// A limit was reached, the room that a buffer has included: retry later, or raise it.
    LLMD_EXHAUSTED = 3,
    /// A defect of llmd: report it.
    LLMD_INTERNAL = 4,
    /// The call was wrong: fix it.
    LLMD_INVALID = 5,
    /// What was named has been replaced since: ask again.
    LLMD_STALE = 6,
    /// The other side is not there now: go elsewhere, or retry later.
    LLMD_UNAVAILABLE = 7,
    /// This machine or build cannot do it: choose another way.
    LLMD_UNSUPPORTED = 8,
}

use llmd_status::{
    LLMD_CORRUPT, LLMD_DENIED, LLMD_EXHAUSTED, LLMD_INTERNAL, LLMD_INVALID, LLMD_STALE, LLMD_UNAVAILABLE,
    LLMD_UNSUPPORTED,
};

impl From<ErrorKind> for llmd_status {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Corrupt => LLMD_CORRUPT,
            ErrorKind::Denied => LLMD_DENIED,
            ErrorKind::Exhausted => LLMD_EXHAUSTED,
            ErrorKind::Invalid => LLMD_INVALID,
            ErrorKind::Stale => LLMD_STALE,
            ErrorKind::Unavailable => LLMD_UNAVAILABLE,
            ErrorKind::Unsupported => LLMD_UNSUPPORTED,
            // The enum is non-exhaustive; a test walks `ErrorKind::ALL`.
            _ => LLMD_INTERNAL,
        }
    }
}

/// The name of a status: `ok`, `corrupt`, …, and `unknown` for a number that is none. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_status_name(status: c_int) -> *const c_char {
    let names =
        [c"ok", c"corrupt", c"denied", c"exhausted", c"internal", c"invalid", c"stale", c"unavailable", c"unsupported"];
    usize::try_from(status).ok().and_then(|place| names.get(place).copied()).unwrap_or(c"unknown").as_ptr()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::ffi::CStr;

    use super::*;

    fn name(status: c_int) -> String {
        // SAFETY: the names are literals.
        unsafe { CStr::from_ptr(llmd_status_name(status)) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn every_kind_of_error_has_a_status_of_its_own_with_its_name() {
        let statuses = ErrorKind::ALL.map(|kind| llmd_status::from(kind) as c_int);

        assert_eq!(HashSet::from(statuses), (1..=8).collect());
        for kind in ErrorKind::ALL {
            assert_eq!(name(llmd_status::from(kind) as c_int), format!("{kind:?}").to_lowercase());
        }
    }

    #[test]
    fn a_number_that_is_no_status_has_a_name_too() {
        assert_eq!([name(0), name(9), name(-1)], ["ok", "unknown", "unknown"]);
    }
}
