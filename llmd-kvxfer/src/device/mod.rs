//! Memory kinds behind one trait: the host's own, and that of accelerators whose drivers are loaded at run time.

#![expect(unsafe_code, reason = "memory that others allocated, and bytes that are copied meanwhile, are vouched for")]

mod batch;
#[cfg(any(feature = "cuda", feature = "rocm"))]
mod driver;
mod engine;
mod host;
mod id;
mod ipc;
mod memory;
mod open;
mod staging;
mod ticket;

use std::fmt::Debug;

use llmd_core::{Error, ErrorKind, Result};

pub use self::batch::{DeviceCopy, Direction, Rows};
#[cfg(feature = "cuda")]
pub use self::driver::Cuda;
#[cfg(feature = "rocm")]
pub use self::driver::Hip;
pub(crate) use self::engine::{BUFFER_BYTES, Buffer, CopyEngine, MAX_BUFFER_BYTES, Moving};
pub use self::host::Host;
pub use self::id::{Abilities, Counts, DeviceId, Vendor};
pub use self::ipc::IpcHandle;
pub use self::memory::{DeviceMemory, HostMemory, Keep, Pinned, Slab};
pub use self::open::{open, open_from};
pub use self::staging::{
    Costs, HostSide, PackCosts, PerDirection, Staging, StagingCounts, StagingLimits, Transfer, TransferId, Way,
};
pub use self::ticket::{Completion, Ticket};
use crate::plan::Copy;

/// One kind of memory: how it is had, and how bytes come to it and from it.
///
/// Copies are asynchronous: they are submitted, and a [`Ticket`] says when they are done. Copies of different tickets are in no
/// order among each other; who needs one waits for the first before the second is submitted. What a ticket uses lives until it
/// is done.
///
/// An implementation is correct when `testing::device` says so.
///
/// # Safety
///
/// Of all methods that copy: until the ticket is done, nobody else, thread or kernel, writes the bytes that are read, and nobody
/// else reads or writes those that are written. Copies wait for no stream of an engine's: whoever submits has synchronised with it. Those of one batch do not overlap where they are written.
pub trait Device: Debug + Send + Sync {
    /// Which one it is.
    fn id(&self) -> DeviceId;

    /// What it can do, so that nothing is tried in vain.
    fn abilities(&self) -> Abilities;

    /// What it did so far.
    fn counts(&self) -> Counts;

    /// So many bytes of it, which are freed when the last clone drops. What is in them is not said.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for no bytes, [`ErrorKind::Exhausted`] when there is no room, [`ErrorKind::Unavailable`] when the
    /// device is lost.
    fn allocate(&self, len: u64) -> Result<DeviceMemory>;

    /// Memory of it that somebody else allocated, such as an engine's tensor. `keep` is dropped with the last clone.
    ///
    /// # Safety
    ///
    /// The bytes belong to this device and stay allocated until `keep` is dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when `len` bytes do not fit behind `address`.
    unsafe fn adopt(&self, address: u64, len: u64, keep: Keep) -> Result<DeviceMemory> {
        // SAFETY: the caller vouches for the same.
        unsafe { DeviceMemory::new(self.id(), address, len, keep) }
    }

    /// Makes memory of the host such that this device reaches it by itself. When the last clone drops, it no longer is.
    ///
    /// # Errors
    ///
    /// Whatever the driver says: there is no slower path behind it. [`ErrorKind::Exhausted`] when too much is pinned,
    /// [`ErrorKind::Invalid`] when some of it is pinned already.
    fn pin(&self, memory: &HostMemory) -> Result<Pinned>;

    /// Submits copies between `memory` and `host`, in no order among each other.
    ///
    /// # Safety
    ///
    /// See the trait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when one reaches outside, or memory of another device is given; [`ErrorKind::Exhausted`] when too
    /// many tickets are under way; [`ErrorKind::Unavailable`] when the device is lost. Nothing is under way after an error.
    unsafe fn copy(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
    ) -> Result<Ticket>;

    /// Submits rows that lie at constant distances on both sides, as one copy.
    ///
    /// # Safety
    ///
    /// See the trait.
    ///
    /// # Errors
    ///
    /// Those of [`copy`](Self::copy), and [`ErrorKind::Invalid`] for rows that overlap.
    unsafe fn copy_strided(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        rows: &Rows,
    ) -> Result<Ticket>;

    /// Submits the same copies as [`copy`](Self::copy) does, by way of a slab: the device packs or unpacks them in its own
    /// memory, and what follows each other in `host` and in `batch` crosses the bus as one.
    ///
    /// # Safety
    ///
    /// See the trait; and until the ticket is done, nothing else uses `slab`.
    ///
    /// # Errors
    ///
    /// Those of [`copy`](Self::copy); [`ErrorKind::Invalid`] when the slab is too small; [`ErrorKind::Unsupported`] where
    /// [`Abilities::pack`] is not set.
    unsafe fn copy_packed(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
        slab: &Slab,
    ) -> Result<Ticket> {
        _ = (direction, memory, host, batch, slab);
        Err(Error::new(ErrorKind::Unsupported, format!("{} packs nothing: copy it in a batch", self.id())))
    }

    /// Submits copies from one memory of this device to another of it, or within one, in no order among each other. They are not
    /// part of [`Counts`] but for their bytes.
    ///
    /// # Safety
    ///
    /// See the trait; and what one copy reads is not written by another, nor by itself.
    ///
    /// # Errors
    ///
    /// Those of [`copy`](Self::copy); [`ErrorKind::Unsupported`] where [`Abilities::within`] is not set.
    unsafe fn copy_within(&self, from: &DeviceMemory, to: &DeviceMemory, batch: &[Copy]) -> Result<Ticket> {
        _ = (from, to, batch);
        Err(Error::new(ErrorKind::Unsupported, format!("{} copies nothing within: go by the host", self.id())))
    }

    /// Submits the same copies as [`copy_within`](Self::copy_within) does, by a kernel that reads them from the slab's table: many
    /// small ones, each of which would cost a driver some microseconds.
    ///
    /// # Safety
    ///
    /// That of [`copy_within`](Self::copy_within); and until the ticket is done, nothing else uses `slab`.
    ///
    /// # Errors
    ///
    /// Those of [`copy_within`](Self::copy_within); [`ErrorKind::Invalid`] when the slab has no room for so many copies;
    /// [`ErrorKind::Unsupported`] where [`Abilities::pack`] is not set.
    unsafe fn copy_within_packed(
        &self,
        from: &DeviceMemory,
        to: &DeviceMemory,
        batch: &[Copy],
        slab: &Slab,
    ) -> Result<Ticket> {
        _ = (from, to, batch, slab);
        Err(Error::new(ErrorKind::Unsupported, format!("{} packs nothing: copy it in a batch", self.id())))
    }

    /// What another process imports `memory` by.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where [`Abilities::ipc`] is not set, or the memory cannot be shared.
    fn export(&self, memory: &DeviceMemory) -> Result<IpcHandle> {
        _ = memory;
        Err(Error::new(ErrorKind::Unsupported, format!("{} shares no memory between processes", self.id())))
    }

    /// The memory that another process exported. It is closed when the last clone drops.
    ///
    /// # Safety
    ///
    /// The process that exported it keeps it allocated until it is closed here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the handle is another vendor's or names bytes that are not in it; [`ErrorKind::Unsupported`]
    /// where [`Abilities::ipc`] is not set; else what the driver says, such as for a handle of this very process.
    unsafe fn import(&self, handle: &IpcHandle) -> Result<DeviceMemory> {
        _ = handle;
        Err(Error::new(ErrorKind::Unsupported, format!("{} shares no memory between processes", self.id())))
    }
}
