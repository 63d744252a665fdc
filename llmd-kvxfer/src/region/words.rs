//! Numbers in memory that several processes share: each read and written whole.

#![expect(unsafe_code, reason = "shared memory is seen as atomics")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use llmd_core::{Error, ErrorKind, Result};

use super::mapping::{self, Access, Mapping, cannot_shrink};

/// So many numbers, all zero at first.
#[derive(Debug)]
pub(crate) struct Words {
    mapping: Mapping,
    fd: OwnedFd,
}

impl Words {
    /// New ones, which peers may change too.
    pub(crate) fn shared(name: &str, count: usize) -> Result<Self> {
        Self::of(mapping::memfd(name, count.max(1) * size_of::<u64>())?, Access::Write)
    }

    /// New ones, which nobody else can change.
    pub(crate) fn ours(name: &str, count: usize) -> Result<Self> {
        let words = Self::shared(name, count)?;
        mapping::write_no_more(words.fd.as_fd())?;
        Ok(words)
    }

    /// Those that a peer sent, at least `count`.
    pub(crate) fn from_peer(fd: OwnedFd, count: usize, access: Access) -> Result<Self> {
        let there = mapping::len_of(fd.as_fd())? / size_of::<u64>();
        if !cannot_shrink(fd.as_fd()) || there < count {
            let message = format!("shared memory of {there} words, expected {count} that cannot become fewer");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Self::of(fd, access)
    }

    /// To be sent to a peer.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// All of them. What was mapped to read only can only be loaded from.
    pub(crate) fn all(&self) -> &[AtomicU64] {
        let count = self.mapping.len() / size_of::<u64>();
        // SAFETY: the mapping is as long, aligned to a page, cannot become shorter, and all who have it change it by atomics
        // alone. Loads of whole words do not write.
        unsafe { std::slice::from_raw_parts(self.mapping.address().as_ptr().cast(), count) }
    }

    fn of(fd: OwnedFd, access: Access) -> Result<Self> {
        let mapping = Mapping::new(fd.as_fd(), mapping::len_of(fd.as_fd())?, access)?;
        Ok(Self { mapping, fd })
    }
}
