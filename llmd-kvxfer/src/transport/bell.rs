//! What wakes one who sleeps on a file descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use llmd_core::{Error, ErrorKind, Result};
use rustix::event::{EventfdFlags, eventfd};

/// A file descriptor that is readable from when it is rung until it is quieted. Ringing it again meanwhile costs nothing.
#[derive(Debug)]
pub(crate) struct Bell {
    fd: OwnedFd,
    is_rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { fd: new_eventfd()?, is_rung: AtomicBool::new(false) })
    }

    pub(crate) fn ring(&self) {
        // What was done before it rings is seen by whoever was woken.
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            ring(self.fd.as_fd());
        }
    }

    /// Called by the one who was woken, before it looks for what there is to do: also whether it is to end.
    pub(crate) fn quiet(&self) {
        if self.is_rung.load(Ordering::Acquire) {
            quiet(self.fd.as_fd());
            // Whoever found it rung until now did what they did before this, and it is seen by what follows.
            self.is_rung.swap(false, Ordering::AcqRel);
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One that can be given to another process.
pub(crate) fn new_eventfd() -> Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| Error::new(ErrorKind::Exhausted, format!("an eventfd: {errno}")).with_source(errno))
}

pub(crate) fn ring(fd: BorrowedFd<'_>) {
    // It fails only when it was rung 2⁶⁴ times without being heard, and then it is readable already.
    let _rung = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

pub(crate) fn quiet(fd: BorrowedFd<'_>) {
    // It fails when it was not rung, and then it is quiet.
    let _heard = rustix::io::read(fd, &mut [0; 8]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn nobody_sleeps_through_the_last_ring() {
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        for _ in 0..2000 {
            let shared = Arc::new((Bell::new().unwrap(), AtomicBool::new(false)));
            let sleeper = std::thread::spawn({
                let shared = Arc::clone(&shared);
                move || loop {
                    shared.0.quiet();
                    if shared.1.load(Ordering::Relaxed) {
                        return true;
                    }
                    let mut rung = [PollFd::new(&shared.0, PollFlags::IN)];
                    if poll(&mut rung, Some(&patience)) == Ok(0) {
                        return false;
                    }
                }
            });
            shared.0.ring();
            shared.1.store(true, Ordering::Relaxed);
            shared.0.ring();
            assert!(sleeper.join().unwrap(), "it was rung, and slept on");
        }
    }
}
