//! The one clock of this program.

use std::time::{Duration, Instant, SystemTime};

/// Runs from the moment it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one place where this program reads a clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The time of day, to compare with that of files.
#[expect(clippy::disallowed_methods, reason = "files carry the time of day")]
pub(crate) fn time_of_day() -> SystemTime {
    SystemTime::now()
}
