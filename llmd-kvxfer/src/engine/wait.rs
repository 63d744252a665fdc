//! Sleeping until one of several descriptors is ready.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    /// Something came, or nothing ever will.
    Reading,
    /// The same, or something can be sent.
    ReadingAndWriting,
    /// Nothing ever will.
    TheEnd,
}

impl For {
    const fn flags(self) -> PollFlags {
        match self {
            Self::Reading => PollFlags::IN,
            Self::ReadingAndWriting => PollFlags::IN.union(PollFlags::OUT),
            Self::TheEnd => PollFlags::RDHUP,
        }
    }
}

/// Waits for any of these, for so long, or until one is ready. It ends sooner when a signal comes.
pub(super) fn wait(watched: &[(BorrowedFd<'_>, For)], time: Option<Duration>) {
    let mut all: Vec<_> = watched.iter().map(|(fd, what)| PollFd::from_borrowed_fd(*fd, what.flags())).collect();
    let time = time.and_then(|time| {
        Some(Timespec { tv_sec: time.as_secs().try_into().ok()?, tv_nsec: time.subsec_nanos().into() })
    });
    let _woken = poll(&mut all, time.as_ref());
}
