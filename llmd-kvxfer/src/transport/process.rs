//! Which process this is, without asking the system each time.

#![expect(unsafe_code, reason = "a forked child has to be told apart from its parent")]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which process this is: 0 until it was asked, and in a forked child until it was asked there.
static KNOWN: AtomicU32 = AtomicU32::new(0);
static WATCH: Once = Once::new();

/// The number of this process.
pub(crate) fn process() -> u32 {
    // Nothing else depends on it.
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            WATCH.call_once(|| {
                // SAFETY: the handler stores one word, which is allowed in a child of any process.
                let _watched = unsafe { libc::pthread_atfork(None, None, Some(forget)) };
            });
            let process = std::process::id();
            KNOWN.store(process, Ordering::Relaxed);
            process
        }
        known => known,
    }
}

extern "C" fn forget() {
    KNOWN.store(0, Ordering::Relaxed);
}
