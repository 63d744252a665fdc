//! The bench's clock: the one place where this program asks what time it is.

use std::time::{Duration, Instant};

/// Time since the program's own beginning; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "a program that measures holds a clock, here")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago the clock began.
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
