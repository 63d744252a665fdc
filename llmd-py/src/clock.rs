//! The clock of the process, by which everything here is told the time.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use llmd_gateway::Clock;

/// Started when the module is imported. It goes on in a forked child.
static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::start);

/// The process's clock.
pub(crate) fn clock() -> &'static Clock {
    &CLOCK
}

/// The time since the module was imported.
pub(crate) fn now() -> Duration {
    CLOCK.now()
}

/// Seconds since 1970, as engines write the time.
#[expect(clippy::disallowed_methods, reason = "a binding is a shell, and this is its clock")]
pub(crate) fn since_1970() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
