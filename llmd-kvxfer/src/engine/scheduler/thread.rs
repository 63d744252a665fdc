//! What connects with workers that are not there, while the engine goes on.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{ErrorKind, Result};

use super::Shared;
use crate::engine::wait::{For, wait};

/// How long it pauses between attempts to reach workers when it begins.
const PAUSE: Duration = Duration::from_millis(5);

/// Connects with all workers.
pub(super) fn connect_all(shared: &Shared, within: Duration) -> Result<()> {
    let until = shared.clock.now().saturating_add(within);
    let workers = shared.state.lock().workers();
    for worker in 0..workers {
        while let Err(error) = connect(shared, worker) {
            if error.kind() != ErrorKind::Unavailable || shared.clock.now() >= until {
                return Err(error);
            }
            wait(&[], Some(PAUSE));
        }
    }
    Ok(())
}

fn connect(shared: &Shared, worker: usize) -> Result<()> {
    // Nobody waits for the lock while this waits for the worker.
    let (pass, place) = shared.state.lock().pass(worker);
    let connected = pass.connect(&place);
    shared.state.lock().install(shared.clock.now(), worker, connected)
}

pub(super) fn run(shared: &Shared) {
    loop {
        shared.bell.quiet();
        // Not before: what rings in between would not be heard.
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let now = shared.clock.now();
        let due = shared.state.lock().due(now);
        for worker in due {
            // It was counted, and is tried again later.
            let _connected = connect(shared, worker);
        }
        let mut state = shared.state.lock();
        state.hear_of_ends(shared.clock.now());
        let (streams, retry_at) = (state.streams(), state.retry_at());
        drop(state);
        let mut watched = vec![(shared.bell.as_fd(), For::Reading)];
        watched.extend(streams.iter().map(|(stream, what)| (stream.as_fd(), *what)));
        let left = retry_at.map(|at| at.saturating_sub(shared.clock.now()));
        wait(&watched, left);
        drop(watched);
        let _streams: Vec<Arc<_>> = streams.into_iter().map(|(stream, _)| stream).collect();
    }
}
