//! The time since a program began.

use std::time::{Duration, Instant};

/// Says how long it is since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a program looks at the clock")]
        let now = Instant::now();
        Self(now)
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
