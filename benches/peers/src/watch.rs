//! The one clock on the wall: for single calls, where a thread's own clock would cost more than the call.

use std::time::{Duration, Instant};

/// How long a call takes, on the wall; of a thread that is interrupted meanwhile, that too.
#[expect(clippy::disallowed_methods, reason = "the one place where this program reads the clock on the wall")]
pub(crate) fn took(call: impl FnOnce()) -> Duration {
    let began = Instant::now();
    call();
    began.elapsed()
}
