//! Which of many descriptors are ready.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::event::{Timespec, epoll};
use smallvec::SmallVec;

/// A descriptor that is readable when one of those that were added is. One that is closed is no longer among them.
#[derive(Debug)]
pub(in crate::transport) struct Poller(OwnedFd);

/// What a descriptor is watched for until it is ready once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::transport) enum Interest {
    Nothing,
    Read,
    ReadAndWrite,
    Write,
}

/// How many are looked at in one go.
const AT_ONCE: usize = 64;

impl Poller {
    pub(in crate::transport) fn new() -> Result<Self> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC);
        fd.map(Self).map_err(|errno| Error::new(ErrorKind::Exhausted, format!("an epoll: {errno}")).with_source(errno))
    }

    /// Watches a descriptor, under this token.
    pub(in crate::transport) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        Self::added(epoll::add(&self.0, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN))
    }

    /// Watches a descriptor until it is ready once; [`arm`](Self::arm) has it watched again.
    pub(in crate::transport) fn add_once(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<()> {
        Self::added(epoll::add(&self.0, fd, epoll::EventData::new_u64(token), interest.flags()))
    }

    /// Watches one again that was added to be watched once.
    pub(in crate::transport) fn arm(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<()> {
        Self::added(epoll::modify(&self.0, fd, epoll::EventData::new_u64(token), interest.flags()))
    }

    fn added(added: rustix::io::Result<()>) -> Result<()> {
        added.map_err(|errno| {
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

    /// The token of one that is ready, or becomes so within this time.
    pub(in crate::transport) fn one(&self, within: Duration) -> Option<u64> {
        let mut event = [MaybeUninit::uninit()];
        let within = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
        match epoll::wait(&self.0, &mut event, Some(&within)) {
            Ok((ready, _)) => ready.first().map(|event| event.data.u64()),
            Err(_interrupted) => None,
        }
    }
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        use epoll::EventFlags;
        match self {
            Self::Nothing => EventFlags::ONESHOT,
            Self::Read => EventFlags::ONESHOT | EventFlags::IN,
            Self::ReadAndWrite => EventFlags::ONESHOT | EventFlags::IN | EventFlags::OUT,
            Self::Write => EventFlags::ONESHOT | EventFlags::OUT,
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
