//! The one place where this program asks what time it is.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long something takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a program that measures others holds a clock, here")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn microseconds(self) -> f64 {
        self.elapsed().as_secs_f64() * 1e6
    }
}

/// Seconds that all threads of this process have worked.
pub(crate) fn worked_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
