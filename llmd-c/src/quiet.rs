//! Calls that have no status to return.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does the work of a call that cannot fail, and answers `otherwise` should it panic.
pub(crate) fn quietly<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_goes_no_further() {
        assert_eq!((quietly(3, || 4), quietly(3, || panic!("the sky fell"))), (4, 3));
    }
}
