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

    /// Called by the one who was woken, before it looks for what there is to do.
    pub(crate) fn quiet(&self) {
        if self.is_rung.load(Ordering::Acquire) {
            quiet(self.fd.as_fd());
            self.is_rung.store(false, Ordering::Release);
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
