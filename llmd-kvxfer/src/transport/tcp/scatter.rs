//! Bytes from a connection to where they belong, and from where they lie to a connection, without a copy of ours between.

#![expect(
    unsafe_code,
    reason = "pools are read and written by the kernel, by pointers inside bounds that are checked here"
)]

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};

use llmd_core::{Error, ErrorKind, Result};
use rustix::io::Errno;

use super::runs::{Place, Runs};
use super::socket::{Moved, Socket, came, went};
use crate::copy::{Sum, add_memory};
use crate::region::Region;

/// How many pieces the kernel takes at once.
const MAX_PIECES: usize = 1024;

/// Pieces of memory for one call.
#[derive(Default)]
pub(super) struct Pieces(Vec<libc::iovec>);

// SAFETY: it holds pointers only while a call below fills and uses it, and is empty between them.
unsafe impl Send for Pieces {}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pieces")
    }
}

impl Pieces {
    /// Receives up to `most` bytes to where they belong, from `at` on.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        region: &Region,
        runs: &Runs,
        at: Place,
        most: usize,
    ) -> Result<Moved> {
        self.0.clear();
        self.fill(region, runs, at, most)?;
        let (pieces, count) = (self.0.as_ptr(), self.0.len() as libc::c_int);
        // SAFETY: each piece is inside the region, which is there for as long as this call; who fetches into blocks has
        // promised that nobody relies on them meanwhile.
        let received = unsafe { libc::readv(socket.as_fd().as_raw_fd(), pieces, count) };
        self.0.clear();
        came(usize::try_from(received).map_err(|_| errno()))
    }

    /// Sends `head`, and up to `most` bytes of what lies there, from `at` on.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        head: &[u8],
        region: &Region,
        runs: &Runs,
        at: Place,
        most: usize,
    ) -> Result<Moved> {
        self.0.clear();
        if !head.is_empty() {
            let head = IoSlice::new(head);
            self.0.push(libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() });
        }
        self.fill(region, runs, at, most)?;
        // SAFETY: a message without an address and without anything beside it is all zero but for its pieces.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.0.as_mut_ptr();
        message.msg_iovlen = self.0.len();
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: each piece is inside the region or `head`, which are there for as long as this call, and is only read.
        let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, flags) };
        self.0.clear();
        went(usize::try_from(sent).map_err(|_| errno()))
    }

    fn fill(&mut self, region: &Region, runs: &Runs, at: Place, most: usize) -> Result<()> {
        let mut left = most as u64;
        for (offset, len) in runs.from(at) {
            if left == 0 || self.0.len() == MAX_PIECES {
                break;
            }
            let len = len.min(left);
            let piece = inside(region, offset, len)?;
            self.0.push(libc::iovec { iov_base: piece.cast(), iov_len: len as usize });
            left -= len;
        }
        Ok(())
    }
}

/// Adds what lies there to a sum.
pub(super) fn add(region: &Region, offset: u64, len: u64, sum: &mut Sum) -> Result<()> {
    let from = inside(region, offset, len)?;
    // SAFETY: the bytes are inside the region, which is there for as long as this call.
    unsafe { add_memory(from, len as usize, sum) };
    Ok(())
}

fn inside(region: &Region, offset: u64, len: u64) -> Result<*mut u8> {
    let address = region.address().filter(|_| offset.checked_add(len).is_some_and(|end| end <= region.len() as u64));
    let Some(address) = address else {
        let message = format!("{len} bytes at {offset} of a region of {} bytes", region.len());
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    // SAFETY: it is inside, as was checked.
    Ok(unsafe { address.add(offset as usize) }.as_ptr())
}

fn errno() -> Errno {
    let last = std::io::Error::last_os_error();
    Errno::from_io_error(&last).unwrap_or(Errno::IO)
}
