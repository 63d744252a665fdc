//! What a driver says when something went wrong.

use llmd_core::{Error, ErrorKind};

use super::calls::Code;

/// Not yet, and nothing wrong.
pub(super) const NOT_READY: Code = 600;

/// A code, and the driver's name for it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) name: Option<String>,
}

impl Failure {
    pub(super) fn while_doing(&self, doing: &str) -> Error {
        let name = self.name.as_deref().unwrap_or("a code without a name");
        Error::new(kind(self.code), format!("{doing}: {name} ({})", self.code))
    }
}

/// What to do about it. Both vendors use the same numbers.
const fn kind(code: Code) -> ErrorKind {
    match code {
        // Invalid value, device, context or handle; memory that is registered already, or not at all.
        1 | 101 | 201 | 400 | 712 | 713 => ErrorKind::Invalid,
        // Out of memory.
        2 => ErrorKind::Exhausted,
        // A library to link with, no device; a kernel that the driver cannot compile, or does not have.
        34 | 100 | 200 | 209 | 218 | 221 | 222 | 223 | 500 | 801 | 803 | 804 => ErrorKind::Unsupported,
        // Not permitted.
        800 => ErrorKind::Denied,
        // Everything else takes the device or its context away.
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_what_was_done_and_the_drivers_word_for_it() {
        let failure = Failure { code: 2, name: Some("CUDA_ERROR_OUT_OF_MEMORY".to_owned()) };
        let error = failure.while_doing("allocating 8 bytes");
        assert_eq!(error.to_string(), "allocating 8 bytes: CUDA_ERROR_OUT_OF_MEMORY (2)");
        assert_eq!(error.kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn a_code_of_tomorrow_takes_the_device_away() {
        let error = Failure { code: 4711, name: None }.while_doing("copying");
        assert_eq!(error.to_string(), "copying: a code without a name (4711)");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
