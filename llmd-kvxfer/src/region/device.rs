//! Memory of a device, which only the device itself reads and writes.

#![expect(unsafe_code, reason = "a device copies while others are trusted to leave the bytes alone")]

use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use crate::device::{Device, DeviceCopy, DeviceMemory, Direction, HostMemory, Pinned, Ticket};

/// Memory of a device, and the buffer through which single bytes of it are read and written.
#[derive(Debug)]
pub(crate) struct OnDevice {
    device: Arc<dyn Device>,
    memory: DeviceMemory,
    buffer: Mutex<Pinned>,
}

/// How many bytes go at once. It is the slow way: blocks are moved by other means.
const BUFFER: usize = 64 << 10;

impl OnDevice {
    pub(super) fn new(device: Arc<dyn Device>, memory: DeviceMemory) -> Result<Self> {
        if memory.device() != device.id() {
            let message = format!("memory of {}, expected that of {}", memory.device(), device.id());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let buffer = Mutex::new(device.pin(&HostMemory::allocate(BUFFER)?)?);
        Ok(Self { device, memory, buffer })
    }

    pub(crate) const fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    pub(crate) const fn memory(&self) -> &DeviceMemory {
        &self.memory
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let buffer = self.buffer.lock();
        for (piece, offset) in bytes.chunks_mut(BUFFER).zip((offset..).step_by(BUFFER)) {
            self.copy(Direction::ToHost, &buffer, offset, piece.len())?;
            // SAFETY: the copy into the buffer is done, and it is this call's alone as long as it is locked.
            unsafe { buffer.memory().read(0, piece) }?;
        }
        Ok(())
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let buffer = self.buffer.lock();
        for (piece, offset) in bytes.chunks(BUFFER).zip((offset..).step_by(BUFFER)) {
            // SAFETY: nothing is under way that uses the buffer, which is this call's alone as long as it is locked.
            unsafe { buffer.memory().write(0, piece) }?;
            self.copy(Direction::ToDevice, &buffer, offset, piece.len())?;
        }
        Ok(())
    }

    fn copy(&self, direction: Direction, buffer: &Pinned, offset: u64, len: usize) -> Result<()> {
        let copy = DeviceCopy { device: offset, host: 0, len: len as u64 };
        // SAFETY: the buffer is this call's alone. Those who write blocks that others move know that they may not.
        unsafe { self.device.copy(direction, &self.memory, buffer, &[copy]) }.and_then(Ticket::wait)
    }
}
