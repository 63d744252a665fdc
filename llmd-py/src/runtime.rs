//! The threads that follow event streams: one small runtime per process, made on first use.

use std::process;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use llmd_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};

/// Enough to read sockets while one batch is written.
const THREADS: usize = 2;

/// A runtime, and the process it was made in: a forked child has none of its threads.
struct Home {
    process: u32,
    runtime: &'static Runtime,
}

static HOME: ArcSwapOption<Home> = ArcSwapOption::const_empty();

/// The runtime of this process. Its threads never touch Python, and end with the process.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when the system gives no threads.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    let process = process::id();
    let found = HOME.load();
    if let Some(home) = found.as_ref().filter(|home| home.process == process) {
        return Ok(home.runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(THREADS).thread_name("llmd-events").enable_all().build();
    let made = made.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "no threads can be started for event streams").with_source(error)
    })?;
    // Never dropped: that would wait for its threads, which a forked child does not have.
    let home = Arc::new(Home { process, runtime: Box::leak(Box::new(made)) });
    let before = HOME.compare_and_swap(&found, Some(Arc::clone(&home)));
    // Two threads can both find none. The one that comes late leaves its own idle and takes the other's.
    match before.as_ref() {
        Some(first) if first.process == process => Ok(first.runtime),
        _ => Ok(home.runtime),
    }
}
