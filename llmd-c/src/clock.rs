//! The binding's clock: C calls say nothing about the time.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a binding is a shell, and this is its clock")]
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time since the first call of this process that looked at it; it never runs back.
pub(crate) fn now() -> Duration {
    STARTED.elapsed()
}
