//! The agent's own thread: it serves others and ends what is late while nobody calls.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use llmd_core::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Inner, nanoseconds};

/// Ends the thread, and all copies, when it is dropped.
pub(super) struct Life {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

/// How long after somebody polled that one is taken to look after everything: who spins is not helped by another who does.
const LOOKED_AFTER: Duration = Duration::from_millis(1);
/// How soon one polls again who spins, and how often in a row until that is believed.
const RIGHT_AFTER: Duration = Duration::from_micros(20);
const AGAIN_AND_AGAIN: u32 = 64;
/// How long it sleeps at most where a test turns the clock.
const TURNED: Duration = Duration::from_millis(10);

pub(super) fn start(inner: &Arc<Inner>, is_turned: bool) -> Result<Life> {
    let thread = std::thread::Builder::new().name("llmd-agent".into()).spawn({
        let inner = Arc::clone(inner);
        move || run(&inner, is_turned)
    });
    let thread = thread
        .map_err(|cause| Error::new(ErrorKind::Exhausted, "the agent's thread cannot be started").with_source(cause))?;
    Ok(Life { inner: Arc::clone(inner), thread: Some(thread) })
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::process::id() != self.inner.process {
            // In a forked child there is none of its threads, and the socket is the parent's: all of it is left as it is.
            std::mem::forget(Arc::clone(&self.inner));
            std::mem::forget(self.thread.take());
            return;
        }
        self.inner.is_over.store(true, Ordering::SeqCst);
        self.inner.home.bell.ring();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so, and there is nobody to tell it to.
            let _ended = thread.join();
        }
        self.inner.home.end();
        // Copies have what they are made for, and that has the threads which make them.
        self.inner.home.copiers.close();
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Life")
    }
}

/// The time since now.
pub(super) fn clock() -> Arc<dyn Fn() -> Duration + Send + Sync> {
    #[expect(clippy::disallowed_methods, reason = "the agent is a shell, and this is its clock")]
    let now = Instant::now;
    let start = now();
    Arc::new(move || now() - start)
}

fn run(inner: &Inner, is_turned: bool) {
    let mut active = inner.home.now();
    loop {
        let now = inner.home.now();
        inner.home.bell.quiet();
        // Not before: what rings in between would not be heard.
        if inner.is_over.load(Ordering::SeqCst) {
            return;
        }
        let is_any = inner.poll_transports(now);
        inner.home.expire(now);
        inner.expire(now);
        inner.prolong(now);
        if is_any {
            active = now;
        }
        if inner.is_looked_after(now) {
            inner.wait_for_any(Some(LOOKED_AFTER));
            continue;
        }
        if now.saturating_sub(active) < inner.home.spin {
            std::hint::spin_loop();
            continue;
        }
        inner.sleep(is_turned);
    }
}

impl Inner {
    /// Sleeps until somebody wakes it, or there is something to do.
    fn sleep(&self, is_turned: bool) {
        let until = self.wakes_at();
        self.sleeps_until.store(until.map_or(u64::MAX, nanoseconds), Ordering::SeqCst);
        let may = self.transports.iter().all(|carrier| carrier.lock().transport.sleep());
        // What was submitted before `sleeps_until` was said had no reason to ring.
        let again = self.wakes_at();
        if may && again == until {
            let now = self.home.now();
            let left = until.map(|until| until.saturating_sub(now));
            let left = if is_turned { Some(left.map_or(TURNED, |left| left.min(TURNED))) } else { left };
            self.wait_for_any(left);
        }
        self.transports.iter().for_each(|carrier| carrier.lock().transport.awake());
        self.sleeps_until.store(0, Ordering::SeqCst);
    }

    /// Somebody polls. How often they did is a guess at what they will do: nothing depends on its order with anything.
    pub(super) fn look(&self, now: Duration) {
        let now = nanoseconds(now);
        let before = self.looked_at.swap(now, Ordering::Relaxed);
        if now.saturating_sub(before) < RIGHT_AFTER.as_nanos() as u64 {
            self.looks.fetch_add(1, Ordering::Relaxed);
        } else {
            self.looks.store(0, Ordering::Relaxed);
        }
    }

    /// Whether somebody polls again and again.
    fn is_looked_after(&self, now: Duration) -> bool {
        let since = nanoseconds(now).saturating_sub(self.looked_at.load(Ordering::Relaxed));
        self.looks.load(Ordering::Relaxed) >= AGAIN_AND_AGAIN && since < LOOKED_AFTER.as_nanos() as u64
    }

    fn wakes_at(&self) -> Option<Duration> {
        let transports = self.transports.iter().filter_map(|carrier| carrier.lock().transport.next_deadline()).min();
        let deadlines =
            [transports, self.home.next_deadline(), self.ops.lock().next_deadline(), self.wanted.lock().next()];
        deadlines.into_iter().flatten().min()
    }

    fn wait_for_any(&self, left: Option<Duration>) {
        let mut all: Vec<_> = self.wake_fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let bell = self.home.bell.as_fd();
        all.push(PollFd::from_borrowed_fd(bell, PollFlags::IN));
        let left = left.and_then(|left| {
            let seconds = left.as_secs().try_into().ok()?;
            Some(Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() })
        });
        // It fails when a signal came: then it looks again.
        let _woken = poll(&mut all, left.as_ref());
    }
}
