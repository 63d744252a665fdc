//! Memory that NIXL may be told of.

#![expect(unsafe_code, reason = "who makes a `Memory` vouches for it")]

use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use crate::region::{Region, Words};

/// Where memory lies.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum MemoryKind {
    /// In the host's memory.
    #[default]
    Host,
    /// In a device's: `address` is the device's own.
    Device,
}

/// A range of memory, and what keeps it.
pub struct Memory {
    address: NonNull<u8>,
    len: usize,
    kind: MemoryKind,
    device: u64,
    _owner: Arc<dyn Any + Send + Sync>,
}

impl Memory {
    /// `len` bytes at `address`, for as long as `owner` is kept. `device` is the number of the device, and 0 for the host.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there are no bytes, or they go past the end of the address space.
    ///
    /// # Safety
    ///
    /// The bytes are readable and writable until `owner` is dropped, and until then no Rust reference to any of them is held while
    /// this one is registered: peers read and write them without a word.
    pub unsafe fn new(
        address: NonNull<u8>,
        len: usize,
        kind: MemoryKind,
        device: u64,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        if len == 0 || (address.as_ptr() as usize).checked_add(len).is_none() {
            let message = format!("{len} bytes at {address:p}: expected some, before the end of the address space");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self { address, len, kind, device, _owner: owner })
    }

    /// All of a region, of this machine.
    pub(crate) fn of_region(region: &Region) -> Result<Self> {
        if !region.is_writable() {
            let message =
                "a region that is only for reading, expected one that may be written, as NIXL registers all memory";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let address = region.address().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "a region in a device's memory, expected one of this machine's")
        })?;
        // SAFETY: a region's bytes are there for as long as it is, may be written, and are reached by pointer alone.
        unsafe { Self::new(address, region.len(), MemoryKind::Host, 0, Arc::new(region.clone())) }
    }

    /// Words that peers read.
    pub(crate) fn of_words<T: AsRef<Words> + Send + Sync + 'static>(owner: Arc<T>) -> Result<Self> {
        let words = (*owner).as_ref().all();
        let (address, len) = (NonNull::from(words).cast(), size_of_val(words));
        // SAFETY: they are mapped for as long as they have an owner, may be written, and are atomics: who has a reference to one
        // expects that others change it.
        unsafe { Self::new(address, len, MemoryKind::Host, 0, owner) }
    }

    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.address.as_ptr() as u64
    }

    /// How many bytes it has: at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Where it lies.
    pub fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// The number of its device.
    pub fn device(&self) -> u64 {
        self.device
    }
}

// SAFETY: the bytes are reached through NIXL alone, which takes an address and does not care which thread it comes from; the owner
// may be dropped by any thread.
unsafe impl Send for Memory {}
// SAFETY: as above; a shared `Memory` gives numbers and nothing else.
unsafe impl Sync for Memory {}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, len, kind, device, .. } = self;
        write!(f, "Memory({len} bytes at {address:p}, {kind:?} {device})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_bytes_or_without_an_end_is_refused() {
        for (address, len) in [(NonNull::dangling(), 0), (NonNull::<u8>::dangling(), usize::MAX)] {
            // SAFETY: nothing is made of it, so nothing is read or written.
            let refused = unsafe { Memory::new(address, len, MemoryKind::Host, 0, Arc::new(())) }.unwrap_err();

            assert_eq!(refused.kind(), ErrorKind::Invalid);
        }
    }
}
