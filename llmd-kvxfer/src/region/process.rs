//! Another process's memory, read without its help.

#![expect(unsafe_code, reason = "the system writes what it reads of another process to where it is told")]

use std::fmt;
use std::io;
use std::ptr::NonNull;

use llmd_core::{Error, ErrorKind, Result};

use crate::chance;

/// Memory of a process of this machine that may be read by its address, for as long as that process has it there.
///
/// A number for a process means another one in another namespace, and one day even here. So that process keeps a word that nobody
/// else has, and every read reads that as well: what was read together with it was read of the right process.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    told: Told,
    len: usize,
}

/// What a process tells of itself and a region, over a connection that both trust.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Told {
    pub(crate) pid: u32,
    /// What nobody else has, and where it lies.
    pub(crate) token: Token,
    pub(crate) token_at: u64,
    /// Of the region's first byte.
    pub(crate) base: u64,
}

/// A random word that a process keeps to be known by.
pub(crate) type Token = [u8; 16];

/// Bytes to be read, from this offset to here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) from: u64,
    pub(crate) to: *mut u8,
    pub(crate) len: usize,
}

/// How many pieces one call reads: as many as the system takes, but for the token.
pub(crate) const PIECES: usize = 1023;

impl Process {
    /// Tries whether it is the right process, and whether the memory can be read: the region's first and last bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when another process has the number here, or none, [`ErrorKind::Denied`] when it may not be read,
    /// and [`ErrorKind::Internal`] when the memory is none that is read so.
    pub(crate) fn probe(told: Told, len: usize) -> Result<Self> {
        let process = Self { told, len };
        // SAFETY: nothing is written to.
        unsafe { process.read(&[]) }.map_err(|error| match error.kind() {
            ErrorKind::Denied => error,
            _ => process.refused(&error),
        })?;
        let mut bytes = [0_u8; 2];
        let [first, last] = bytes.each_mut();
        let pieces = [(0, first), (len.saturating_sub(1) as u64, last)];
        let pieces = pieces.map(|(from, to)| Piece { from, to: std::ptr::from_mut(to), len: 1 });
        // SAFETY: each is a byte of ours.
        unsafe { process.read(&pieces) }?;
        Ok(process)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Reads these pieces, at most [`PIECES`], which must lie inside the memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the process is gone, and [`ErrorKind::Denied`] when it may not be read.
    ///
    /// # Safety
    ///
    /// `len` bytes from `to` on must be writable, for each.
    pub(crate) unsafe fn read(&self, pieces: &[Piece]) -> Result<()> {
        if pieces.len() > PIECES {
            return Err(Error::new(ErrorKind::Internal, format!("{} pieces, expected at most {PIECES}", pieces.len())));
        }
        let mut token = Token::default();
        let (mut here, mut there) = (Vec::with_capacity(pieces.len() + 1), Vec::with_capacity(pieces.len() + 1));
        let mut wanted = token.len();
        for piece in pieces {
            if piece.from.checked_add(piece.len as u64).is_none_or(|end| end > self.len as u64) {
                let message = format!("{} bytes at {} of a memory of {} bytes", piece.len, piece.from, self.len);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            wanted += piece.len;
            here.push(libc::iovec { iov_base: piece.to.cast(), iov_len: piece.len });
            there.push(remote(self.told.base.wrapping_add(piece.from), piece.len));
        }
        here.push(libc::iovec { iov_base: token.as_mut_ptr().cast(), iov_len: token.len() });
        there.push(remote(self.told.token_at, token.len()));
        let pid = libc::pid_t::try_from(self.told.pid).map_err(|_| self.refused(&"no number of a process"))?;
        let count = here.len() as libc::c_ulong;
        // SAFETY: what is written to is writable, as the caller says, and `token` is ours. What is read is another process's.
        let read = unsafe { libc::process_vm_readv(pid, here.as_ptr(), count, there.as_ptr(), count, 0) };
        if read < 0 {
            return Err(self.failed(io::Error::last_os_error()));
        }
        if read as usize != wanted {
            let message = format!("{read} bytes of process {}, expected {wanted}", self.told.pid);
            return Err(Error::new(ErrorKind::Internal, message));
        }
        if token != self.told.token {
            return Err(self.refused(&"another process has its number"));
        }
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> Error {
        match cause.raw_os_error() {
            Some(libc::ESRCH) => self.refused(&"there is none of that number"),
            Some(libc::EPERM | libc::ENOSYS) => {
                Error::new(ErrorKind::Denied, format!("process {} may not be read: {cause}", self.told.pid))
                    .with_source(cause)
            }
            _ => Error::new(ErrorKind::Internal, format!("process {}: {cause}", self.told.pid)).with_source(cause),
        }
    }

    fn refused(&self, why: &dyn fmt::Display) -> Error {
        Error::new(ErrorKind::Unavailable, format!("process {}: {why}", self.told.pid))
    }
}

/// Where something lies in the other process: nothing here follows it.
fn remote(address: u64, len: usize) -> libc::iovec {
    libc::iovec { iov_base: std::ptr::without_provenance_mut(address as usize), iov_len: len }
}

/// Neither the token nor an address is said to anybody else.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.told.pid).field("len", &self.len).finish_non_exhaustive()
    }
}

/// What this process is known by, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Known(Box<Token>);

impl Known {
    pub(crate) fn new() -> Result<Self> {
        chance::bytes().map(|token| Self(Box::new(token)))
    }

    /// What is told of memory that begins here. Of memory that no process reads it is told that it is nowhere.
    pub(crate) fn tell(&self, base: Option<NonNull<u8>>) -> Told {
        let token_at = self.0.as_ptr().addr() as u64;
        Told {
            pid: std::process::id(),
            token: *self.0,
            token_at,
            base: base.map_or(0, |base| base.addr().get() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Region;

    #[test]
    fn memory_is_read_by_its_address_and_only_of_the_process_that_told_it() {
        let region = Region::adopt_bytes((0..9000_u32).map(|place| (place % 251) as u8).collect());
        let known = Known::new().unwrap();
        let told = known.tell(region.address());
        let process = Process::probe(told, region.len()).unwrap();
        let mut bytes = [0_u8; 300];
        let (low, high) = bytes.split_at_mut(100);
        let piece = |from: u64, to: &mut [u8]| Piece { from, to: to.as_mut_ptr(), len: to.len() };
        // SAFETY: both are ours, and as long.
        unsafe { process.read(&[piece(8900, low), piece(0, high)]) }.unwrap();
        assert!(bytes[..100].iter().zip(8900_u32..).all(|(&byte, place)| byte == (place % 251) as u8));
        assert!(bytes[100..].iter().zip(0_u32..).all(|(&byte, place)| byte == (place % 251) as u8));

        // SAFETY: it is ours, and as long.
        let beyond = unsafe { process.read(&[piece(8999, &mut bytes[..2])]) };
        assert_eq!(beyond.unwrap_err().to_string(), "2 bytes at 8999 of a memory of 9000 bytes");
        let other = Told { token: [7; 16], ..told };
        assert_eq!(Process::probe(other, 9000).unwrap_err().kind(), ErrorKind::Unavailable);
        let gone = Told { pid: i32::MAX as u32, ..told };
        assert_eq!(Process::probe(gone, 9000).unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(Process::probe(Told { base: 0, ..told }, 9000).is_err(), "nothing is mapped there");
    }
}
