//! Memory that another process can map: a memfd, mapped whole.

#![expect(unsafe_code, reason = "mapping memory is a promise about who else has it")]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;
use std::{process, slice};

use llmd_core::{Error, ErrorKind, Result};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::work::word;

/// A memfd, mapped whole and shared. Whoever writes to it keeps others from reading meanwhile: a side fills its pool
/// before it says where that is, and afterwards only the puller writes, and only to its own.
#[derive(Debug)]
pub(crate) struct Memory {
    at: NonNull<u8>,
    len: usize,
    file: File,
}

// SAFETY: the mapping belongs to the value and to no thread.
unsafe impl Send for Memory {}
// SAFETY: with a shared reference it can only be read, or written through atomics.
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` bytes of zeros, on huge pages where the system has them for shared memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when the system has no such memory.
    pub(crate) fn create(len: usize) -> Result<Self> {
        let exhausted = |error| refused(format!("no memfd of {len} bytes"), error);
        let file = File::from(memfd_create("llmd-xfer", MemfdFlags::CLOEXEC).map_err(exhausted)?);
        ftruncate(&file, len as u64).map_err(exhausted)?;
        let memory = Self::map(file, len)?;
        // Each page is there before anything is timed.
        // SAFETY: the pages are those of the mapping, of which nothing is known yet.
        unsafe { madvise(memory.at.as_ptr().cast(), memory.len, Advice::LinuxPopulateWrite) }.map_err(exhausted)?;
        Ok(memory)
    }

    /// A pool: `len` bytes in which every word names its place.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create).
    pub(crate) fn filled(len: usize) -> Result<Self> {
        let mut memory = Self::create(len)?;
        memory.words_mut().iter_mut().enumerate().for_each(|(place, to)| *to = word(place));
        Ok(memory)
    }

    /// What another process told the path of.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no such file, [`ErrorKind::Exhausted`] when it cannot be mapped.
    pub(crate) fn open(path: &Path, len: usize) -> Result<Self> {
        let unavailable = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("{} cannot be opened", path.display())).with_source(error)
        };
        let file = File::options().read(true).write(true).open(path).map_err(unavailable)?;
        let has = file.metadata().map_err(unavailable)?.len();
        if has != len as u64 {
            let message = format!("{} has {has} bytes: expected {len}", path.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Self::map(file, len)
    }

    fn map(file: File, len: usize) -> Result<Self> {
        let exhausted = |error| refused(format!("{len} bytes cannot be mapped"), error);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the system picks the place, so nothing that is there already is touched.
        let at = unsafe { mmap(ptr::null_mut(), len, access, MapFlags::SHARED, &file, 0) }.map_err(exhausted)?;
        // Where there are no huge pages for it, small ones do.
        // SAFETY: the advice changes how pages are backed, not what they hold.
        _ = unsafe { madvise(at, len, Advice::LinuxHugepage) };
        let at = NonNull::new(at.cast()).expect("the system does not map the first page");
        let memory = Self { at, len, file };
        // A first touch is no part of what is measured.
        // SAFETY: as above, and it is done while nobody else knows the value.
        _ = unsafe { madvise(memory.at.as_ptr().cast(), len, Advice::LinuxPopulateWrite) };
        Ok(memory)
    }

    /// Where another process of this machine finds it, while this one lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd()).into()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// All of it, to write to.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: the mapping is `len` bytes long, begins at a page, and is borrowed for as long as the slice.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr().cast(), self.len / size_of::<u64>()) }
    }

    /// The word of four bytes at this place, which several processes may change.
    ///
    /// # Panics
    ///
    /// When it lies outside.
    pub(crate) fn atomic(&self, place: usize) -> &AtomicU32 {
        assert!(place < self.len / size_of::<AtomicU32>(), "place {place} lies in the {} bytes", self.len);
        // SAFETY: the place was checked, is aligned as the mapping is, and is changed through atomics alone.
        unsafe { &*self.at.as_ptr().cast::<AtomicU32>().add(place) }
    }

    /// These blocks of `size` bytes, to be written out; the first from its byte `skip` on.
    ///
    /// # Panics
    ///
    /// When a block lies outside.
    pub(crate) fn gather<'a>(&'a self, blocks: &[u32], size: usize, skip: usize, into: &mut Vec<IoSlice<'a>>) {
        into.clear();
        for (n, &block) in blocks.iter().enumerate() {
            let (start, skip) = (self.place(block, size), if n == 0 { skip } else { 0 });
            // SAFETY: `place` has checked the block, `skip` is less than it, and nobody writes to what was filled.
            into.push(IoSlice::new(unsafe { slice::from_raw_parts(self.at.as_ptr().add(start + skip), size - skip) }));
        }
    }

    /// These blocks of `size` bytes, to be read into; the first from its byte `skip` on.
    ///
    /// # Safety
    ///
    /// The blocks are different ones, and nobody else reads or writes them while they are borrowed.
    ///
    /// # Panics
    ///
    /// When a block lies outside.
    pub(crate) unsafe fn scatter<'a>(
        &'a self,
        blocks: &[u32],
        size: usize,
        skip: usize,
        into: &mut Vec<IoSliceMut<'a>>,
    ) {
        into.clear();
        for (n, &block) in blocks.iter().enumerate() {
            let (start, skip) = (self.place(block, size), if n == 0 { skip } else { 0 });
            // SAFETY: `place` has checked the block, `skip` is less than it, and the caller has it for itself.
            let piece = unsafe { slice::from_raw_parts_mut(self.at.as_ptr().add(start + skip), size - skip) };
            into.push(IoSliceMut::new(piece));
        }
    }

    /// Where a block of `size` bytes begins, in this process.
    ///
    /// # Panics
    ///
    /// When it lies outside.
    pub(crate) fn block(&self, block: u32, size: usize) -> *mut u8 {
        self.at.as_ptr().wrapping_add(self.place(block, size))
    }

    fn place(&self, block: u32, size: usize) -> usize {
        let start = block as usize * size;
        assert!(start + size <= self.len, "block {block} of {size} bytes lies in the {} bytes", self.len);
        start
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing borrows from it any more.
        _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}

fn refused(message: String, error: rustix::io::Errno) -> Error {
    Error::new(ErrorKind::Exhausted, message).with_source(error)
}
