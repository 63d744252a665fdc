//! Which of many descriptors are ready.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use llmd_core::{Error, ErrorKind, Result};
use rustix::event::{Timespec, epoll};
use smallvec::SmallVec;

/// A descriptor that is readable when one of those that were added is. One that is closed is no longer among them.
#[derive(Debug)]
pub(in crate::transport) struct Poller(OwnedFd);

/// How many are looked at in one go.
const AT_ONCE: usize = 64;

impl Poller {
    pub(in crate::transport) fn new() -> Result<Self> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC);
        fd.map(Self).map_err(|errno| Error::new(ErrorKind::Exhausted, format!("an epoll: {errno}")).with_source(errno))
    }

    /// Watches a descriptor, under this token.
    pub(in crate::transport) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        epoll::add(&self.0, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN).map_err(|errno| {
            Error::new(ErrorKind::Exhausted, format!("a descriptor cannot be watched: {errno}")).with_source(errno)
        })
    }

    /// The tokens of those that are ready now.
    pub(in crate::transport) fn ready(&self) -> SmallVec<[u64; 8]> {
        let mut events = [const { MaybeUninit::uninit() }; AT_ONCE];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.0, &mut events, Some(&now)) {
            Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
            Err(_interrupted) => SmallVec::new(),
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
