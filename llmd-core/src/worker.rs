//! Who holds blocks.

use std::fmt;

/// One owner of a cache: one data-parallel rank of one engine.
///
/// A small number, given out densely by whoever knows the engines; the index keeps tables by it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a worker id is a number and stays one")]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}
