//! The demo's clock: the one place where this program asks what time it is.

use std::time::{Duration, Instant};

/// Time since the program's own beginning; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "a program that measures other programs holds a clock, here")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// How long ago the clock began.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sleeps until the clock shows `at`; returns at once when it is past that.
    pub(crate) async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until((self.start + at).into()).await;
    }
}
