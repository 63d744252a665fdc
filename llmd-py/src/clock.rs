//! The clock of the process, by which everything here is told the time.

use std::sync::LazyLock;
use std::time::Duration;

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
