//! Memory of devices and of the host, held as long as somebody uses it.

#![expect(unsafe_code, reason = "memory that others allocated is named by its address")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::{Device, DeviceId};

/// What gives memory back when it drops.
pub type Keep = Arc<dyn Any + Send + Sync>;

/// Memory of a device. Clones are the same memory, which is given back when the last one drops.
#[derive(Clone)]
pub struct DeviceMemory {
    device: DeviceId,
    address: u64,
    len: u64,
    keep: Keep,
}

impl DeviceMemory {
    /// Memory of `device`, for those who implement [`Device`].
    ///
    /// # Safety
    ///
    /// The bytes belong to that device and stay allocated until `keep` is dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when `len` bytes do not fit behind `address`.
    pub unsafe fn new(device: DeviceId, address: u64, len: u64, keep: Keep) -> Result<Self> {
        if address == 0 || len == 0 || address.checked_add(len).is_none() {
            let message = format!("{len} bytes at address {address:#x} of {device}, expected some that fit");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self { device, address, len, keep })
    }

    /// Whose memory it is.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Where it begins, as the device counts.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether others hold it too: clones, or copies that are under way.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.keep) > 1
    }

    /// Refuses bytes that are not in it.
    pub(super) fn check(&self, offset: u64, len: u64) -> Result<()> {
        within(offset, len, self.len, self.device)
    }
}

impl fmt::Debug for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceMemory({}, {:#x}, {} bytes)", self.device, self.address, self.len)
    }
}

fn within(offset: u64, len: u64, room: u64, whose: impl fmt::Display) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= room => Ok(()),
        _ => {
            let message = format!("{len} bytes at offset {offset} of {room} bytes of {whose}, expected to end within");
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// Memory of this process. Clones are the same memory, which is given back when the last one drops.
#[derive(Clone)]
pub struct HostMemory {
    start: NonNull<u8>,
    len: usize,
    keep: Keep,
}

// SAFETY: it is an address; whoever reads or writes behind it vouches for that it is done by one at a time.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

/// As the pages of most systems, which drivers pin.
const PAGE: usize = 4096;

/// Gives back what [`HostMemory::allocate`] took.
struct Allocation {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is freed by whoever drops it last, and not used otherwise.
unsafe impl Send for Allocation {}
// SAFETY: nothing can be done with a reference to it.
unsafe impl Sync for Allocation {}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and whoever uses it holds it.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl HostMemory {
    /// Memory that somebody else allocated. `keep` is dropped with the last clone.
    ///
    /// # Safety
    ///
    /// The bytes can be read and written until `keep` is dropped, and there are no references to them while a copy is under way.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for no bytes.
    pub unsafe fn new(start: NonNull<u8>, len: usize, keep: Keep) -> Result<Self> {
        if len == 0 || isize::try_from(len).is_err() {
            return Err(Error::new(ErrorKind::Invalid, format!("{len} bytes of the host, expected some that fit")));
        }
        Ok(Self { start, len, keep })
    }

    /// So many bytes of zeros, on pages of their own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for no bytes, [`ErrorKind::Exhausted`] when there is no room.
    pub fn allocate(len: usize) -> Result<Self> {
        let layout = len.checked_next_multiple_of(PAGE).and_then(|len| Layout::from_size_align(len, PAGE).ok());
        let Some(layout) = layout.filter(|layout| layout.size() > 0) else {
            return Err(Error::new(ErrorKind::Invalid, format!("{len} bytes of the host, expected some that fit")));
        };
        // SAFETY: the layout has a size.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            return Err(Error::new(ErrorKind::Exhausted, format!("no room for {len} bytes of the host")));
        };
        let keep = Arc::new(Allocation { start, layout });
        // SAFETY: it was just allocated, and is freed when the keep is dropped.
        unsafe { Self::new(start, len, keep) }
    }

    /// Where it begins.
    pub const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// What keeps it.
    pub(super) fn keep(&self) -> Keep {
        Arc::clone(&self.keep)
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes them meanwhile: neither a thread nor a copy that is under way.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when they reach outside.
    pub unsafe fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check(offset, bytes.len() as u64)?;
        // SAFETY: the bytes are within, as was just checked, and nobody else uses them, as the caller vouches for.
        unsafe { self.start.as_ptr().add(offset as usize).copy_from(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Reads what is at `offset` into `bytes`.
    ///
    /// # Safety
    ///
    /// Nobody writes them meanwhile: neither a thread nor a copy that is under way.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when they reach outside.
    pub unsafe fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.check(offset, bytes.len() as u64)?;
        // SAFETY: the bytes are within, as was just checked, and nobody writes them, as the caller vouches for.
        unsafe { self.start.as_ptr().add(offset as usize).copy_to(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Refuses bytes that are not in it.
    pub(super) fn check(&self, offset: u64, len: u64) -> Result<()> {
        within(offset, len, self.len as u64, "the host")
    }
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostMemory({:p}, {} bytes)", self.start, self.len)
    }
}

/// Memory of the host that a device reaches by itself. It no longer does when the last clone drops.
#[derive(Clone)]
pub struct Pinned {
    device: DeviceId,
    // Before the memory, which is given back only when it is pinned no more.
    registration: Keep,
    memory: HostMemory,
}

impl Pinned {
    /// What `device` pinned, for those who implement [`Device`]: it is no longer when `registration` is dropped.
    pub const fn new(device: DeviceId, memory: HostMemory, registration: Keep) -> Self {
        Self { device, registration, memory }
    }

    /// Which device reaches it.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// What was pinned.
    pub const fn memory(&self) -> &HostMemory {
        &self.memory
    }

    /// Whether others hold it too: clones, or copies that are under way.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.registration) > 1
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({}, {:?})", self.device, self.memory)
    }
}

/// What copies are packed in: device memory for a table and for their bytes, and memory of the host to write the table in.
#[derive(Clone, Debug)]
pub struct Slab {
    table: Pinned,
    memory: DeviceMemory,
    /// Where the bytes begin in `memory`, behind the table.
    data: u64,
}

impl Slab {
    /// Bytes of a copy in the table: its address, its place in the slab, its length.
    const ENTRY: usize = 24;

    /// A slab for at most so many copies, of so many bytes together.
    ///
    /// # Errors
    ///
    /// Those of [`Device::allocate`] and [`Device::pin`].
    pub fn new(device: &dyn Device, copies: usize, bytes: u64) -> Result<Self> {
        let too_large = || Error::new(ErrorKind::Invalid, format!("a slab of {bytes} bytes for {copies} copies"));
        let table = copies.checked_mul(Self::ENTRY).and_then(|len| len.checked_next_multiple_of(PAGE));
        let table = table.ok_or_else(too_large)?;
        let len = bytes.checked_add(table as u64).ok_or_else(too_large)?;
        let pinned = device.pin(&HostMemory::allocate(table)?)?;
        Ok(Self { table: pinned, memory: device.allocate(len)?, data: table as u64 })
    }

    /// How many copies fit.
    pub fn copies(&self) -> usize {
        self.data as usize / Self::ENTRY
    }

    /// How many bytes fit.
    pub const fn bytes(&self) -> u64 {
        self.memory.len() - self.data
    }

    /// Where the table is written, for those who implement [`Device`]; it has room for 24 bytes of each copy.
    pub const fn table(&self) -> &Pinned {
        &self.table
    }

    /// The device's memory: the table, and from [`data`](Self::data) on the bytes.
    pub const fn memory(&self) -> &DeviceMemory {
        &self.memory
    }

    /// Where the bytes begin in the device's memory.
    pub const fn data(&self) -> u64 {
        self.data
    }
}
