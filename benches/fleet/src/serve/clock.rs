//! The only place that asks the machine for the time: wall clock to engine time and back.

use std::time::{Duration, Instant, SystemTime};

/// Engine time runs `speed` times as fast as the wall clock, from 0 when the clock was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
    speed: f64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the engine process asks the time here and nowhere else")]
    pub(super) fn start(speed: f64) -> Self {
        Self { origin: Instant::now(), speed }
    }

    /// The engine time now.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed().mul_f64(self.speed)
    }

    /// The wall time until the engine time is `at`; nothing when it has passed.
    pub(super) fn until(&self, at: Duration) -> Duration {
        at.div_f64(self.speed).saturating_sub(self.origin.elapsed())
    }

    /// The engine time that passes in `wall`.
    pub(super) fn engine_time(&self, wall: Duration) -> Duration {
        wall.mul_f64(self.speed)
    }
}

/// Seconds since 1970, as events and answers carry them.
#[expect(clippy::disallowed_methods, reason = "the engine process asks the time here and nowhere else")]
pub(super) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
