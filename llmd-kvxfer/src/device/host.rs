//! The host's own memory as a device: copies are done when they are submitted.

#![expect(unsafe_code, reason = "bytes are copied between addresses")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmd_core::{Error, ErrorKind, Result};

use super::batch::{self, DeviceCopy, Direction, Rows};
use super::{Abilities, Counts, Device, DeviceId, DeviceMemory, HostMemory, Pinned, Ticket, Vendor};
use crate::plan::Copy;

/// The host's own memory. It copies in the thread that submits, and reaches all memory of the host: pinning locks nothing.
#[derive(Debug, Default)]
pub struct Host {
    copies: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

const ID: DeviceId = DeviceId { vendor: Vendor::Host, ordinal: 0 };

impl Host {
    /// The host.
    pub fn new() -> Self {
        Self::default()
    }

    /// # Safety
    ///
    /// That of [`Device`]; and the copy is within both.
    unsafe fn one(direction: Direction, memory: &DeviceMemory, host: &Pinned, copy: DeviceCopy) {
        let there = (memory.address() + copy.device) as *mut u8;
        // SAFETY: the offset is within the memory, as the caller vouches for.
        let here = unsafe { host.memory().start().as_ptr().add(copy.host as usize) };
        let (from, to) = match direction {
            Direction::ToDevice => (here, there),
            Direction::ToHost => (there, here),
        };
        // SAFETY: both are within memory that is allocated, and nobody else uses them, as the caller vouches for. Both may be the
        // same memory, which is why they are moved.
        unsafe { to.copy_from(from, copy.len as usize) };
    }

    fn ours(devices: &[DeviceId]) -> Result<()> {
        for &device in devices {
            if device != ID {
                return Err(Error::new(ErrorKind::Invalid, format!("memory of {device}, expected that of {ID}")));
            }
        }
        Ok(())
    }
}

impl Device for Host {
    fn id(&self) -> DeviceId {
        ID
    }

    fn abilities(&self) -> Abilities {
        Abilities { batch: true, within: true, ..Abilities::default() }
    }

    fn counts(&self) -> Counts {
        // Each is a count by itself: nothing is read by means of them.
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            batched_copies: count(&self.copies),
            strided_copies: count(&self.rows),
            bytes: count(&self.bytes),
            ..Counts::default()
        }
    }

    fn allocate(&self, len: u64) -> Result<DeviceMemory> {
        let size = usize::try_from(len);
        let size =
            size.map_err(|_| Error::new(ErrorKind::Exhausted, format!("no room for {len} bytes of the host")))?;
        let memory = HostMemory::allocate(size)?;
        // SAFETY: it was just allocated, and lives as long as what keeps it.
        unsafe { DeviceMemory::new(ID, memory.start().as_ptr() as u64, len, memory.keep()) }
    }

    fn pin(&self, memory: &HostMemory) -> Result<Pinned> {
        Ok(Pinned::new(ID, memory.clone(), Arc::new(())))
    }

    unsafe fn copy(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
    ) -> Result<Ticket> {
        Self::ours(&[memory.device(), host.device()])?;
        batch::check(batch, memory, host)?;
        for copy in batch {
            // SAFETY: it was checked that it is within both; for the rest the caller vouches.
            unsafe { Self::one(direction, memory, host, *copy) };
        }
        self.copies.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(batch::bytes(batch), Ordering::Relaxed);
        Ok(Ticket::done())
    }

    unsafe fn copy_strided(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        rows: &Rows,
    ) -> Result<Ticket> {
        Self::ours(&[memory.device(), host.device()])?;
        rows.check(memory, host)?;
        for row in 0..rows.count {
            let (device, offset) = (row * rows.device_stride, row * rows.host_stride);
            let first = rows.first;
            let copy = DeviceCopy { device: first.device + device, host: first.host + offset, len: first.len };
            // SAFETY: it was checked that all rows are within both; for the rest the caller vouches.
            unsafe { Self::one(direction, memory, host, copy) };
        }
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(rows.count * rows.first.len, Ordering::Relaxed);
        Ok(Ticket::done())
    }

    unsafe fn copy_within(&self, from: &DeviceMemory, to: &DeviceMemory, batch: &[Copy]) -> Result<Ticket> {
        Self::ours(&[from.device(), to.device()])?;
        batch::check_within(batch, from, to)?;
        for copy in batch {
            let (from, to) = ((from.address() + copy.from) as *const u8, (to.address() + copy.to) as *mut u8);
            // SAFETY: it was checked that it is within both; for the rest the caller vouches.
            unsafe { to.copy_from(from, copy.len as usize) };
        }
        self.bytes.fetch_add(batch.iter().map(|copy| copy.len).sum(), Ordering::Relaxed);
        Ok(Ticket::done())
    }
}
