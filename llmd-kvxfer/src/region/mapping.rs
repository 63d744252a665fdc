//! Files as memory.

#![expect(unsafe_code, reason = "memory is mapped, and its pages are asked for")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};

use llmd_core::{Error, ErrorKind, Result};
use rustix::fs::{FileType, OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, fstat};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The beginning of a file, as memory that is shared with all who map it.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to no thread; who reads or writes it says why that is sound.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, access: Access) -> Result<Self> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: the system chooses where, so that nothing that is there is replaced.
        let address = unsafe { mmap(null_mut(), len, protection, MapFlags::SHARED, fd, 0) };
        let address = address.map_err(|errno| {
            let kind = if errno == Errno::NOMEM { ErrorKind::Exhausted } else { ErrorKind::Unavailable };
            Error::new(kind, format!("{len} bytes to be mapped: {errno}")).with_source(errno)
        })?;
        let address = NonNull::new(address.cast()).expect("the system maps nothing at zero that it may choose");
        Ok(Self { address, len })
    }

    /// New memory that a peer may write too, all of its pages taken, and what is sent to it.
    pub(crate) fn shared(name: &str, len: usize) -> Result<(Self, OwnedFd)> {
        let fd = memfd(name, len)?;
        let mapping = Self::new(fd.as_fd(), len, Access::Write)?;
        populate(&mapping).map_err(|errno| {
            Error::new(ErrorKind::Exhausted, format!("{len} bytes of shared memory for `{name}`: {errno}"))
                .with_source(errno)
        })?;
        Ok((mapping, fd))
    }

    /// Memory that a peer sent, `len` bytes of it, that cannot become less.
    pub(crate) fn from_peer(fd: BorrowedFd<'_>, len: usize, access: Access) -> Result<Self> {
        if !cannot_shrink(fd) || len_of(fd)? < len {
            let message = format!("shared memory, expected {len} bytes that cannot become fewer");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Self::new(fd, len, access)
    }

    pub(crate) const fn address(&self) -> NonNull<u8> {
        self.address
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl Mapping {
    /// Has the pages of a part of it, where the file has them, entered where the processor finds them.
    pub(crate) fn enter(&self, start: usize, len: usize) -> Result<(), Errno> {
        const PAGE: usize = 4096;
        let end = start.saturating_add(len).min(self.len).next_multiple_of(PAGE);
        let start = start / PAGE * PAGE;
        if start >= end {
            return Ok(());
        }
        // SAFETY: the pages are those of the mapping; entering them changes nothing in them.
        unsafe { madvise(self.address.as_ptr().add(start).cast(), end - start, Advice::LinuxPopulateRead) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and whoever has the address has a mapping that is not dropped.
        let _unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.len) };
    }
}

/// Whether this file can no longer become shorter: then reading what was mapped of it kills nobody.
pub(crate) fn cannot_shrink(fd: BorrowedFd<'_>) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// How many bytes a file has.
pub(super) fn len_of(fd: BorrowedFd<'_>) -> Result<usize> {
    let invalid = |what: String| Error::new(ErrorKind::Invalid, format!("{what}, expected a file of at least 1 byte"));
    let stat = fstat(fd).map_err(|errno| invalid(format!("a descriptor of which nothing is known ({errno})")))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(invalid(format!("a descriptor of a {kind:?}")));
    }
    usize::try_from(stat.st_size).ok().filter(|&len| len > 0).ok_or_else(|| invalid("an empty file".into()))
}

/// What a file was opened for.
pub(super) fn access_of(fd: BorrowedFd<'_>) -> Result<Access> {
    let flags = fcntl_getfl(fd)
        .map_err(|errno| Error::new(ErrorKind::Invalid, format!("a descriptor of which nothing is known ({errno})")))?;
    Ok(if flags & OFlags::ACCMODE == OFlags::RDWR { Access::Write } else { Access::Read })
}

/// Takes all pages now, so that there are too few now and not in the middle of a copy.
pub(super) fn populate(mapping: &Mapping) -> Result<(), Errno> {
    let pages = mapping.len.next_multiple_of(4096);
    // SAFETY: the pages are those of the mapping; asking for them changes nothing in them.
    unsafe { madvise(mapping.address.as_ptr().cast(), pages, Advice::LinuxPopulateWrite) }
}

/// Has all pages that are not taken yet taken from this NUMA node.
pub(super) fn bind(mapping: &Mapping, node: u32) -> Result<()> {
    const NODES: usize = 1024;
    let unsupported = |why: String| Error::new(ErrorKind::Unsupported, format!("NUMA node {node}: {why}"));
    let mut mask = [0_usize; NODES / usize::BITS as usize];
    let (word, bit) = (node as usize / usize::BITS as usize, node as usize % usize::BITS as usize);
    *mask.get_mut(word).ok_or_else(|| unsupported(format!("expected one below {NODES}")))? |= 1 << bit;
    // SAFETY: the range is the mapping's, and the mask has as many bits as are said.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            mapping.address.as_ptr(),
            mapping.len,
            libc::MPOL_BIND,
            mask.as_ptr(),
            NODES + 1,
            0,
        )
    };
    if status == 0 { Ok(()) } else { Err(unsupported(std::io::Error::last_os_error().to_string())) }
}

/// Whoever maps a file from now on can only read it.
pub(super) fn write_no_more(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fcntl_add_seals(fd, SealFlags::FUTURE_WRITE).map_err(|errno| {
        Error::new(ErrorKind::Unsupported, format!("shared memory that others can only read: {errno}"))
            .with_source(errno)
    })
}

/// A file that lives as long as somebody has it open or mapped.
pub(super) fn memfd(name: &str, len: usize) -> Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
    let made = || -> Result<_, Errno> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len as u64)?;
        fcntl_add_seals(fd.as_fd(), SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(fd)
    };
    made().map_err(|errno| {
        Error::new(ErrorKind::Exhausted, format!("{len} bytes of shared memory for `{name}`: {errno}"))
            .with_source(errno)
    })
}
