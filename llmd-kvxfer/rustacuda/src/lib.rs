//! Memory that `rustacuda` allocated, as device memory that `llmd-kvxfer` copies.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use llmd_kvxfer::device::{Cuda, Device};
//! use llmd_kvxfer_rustacuda::Adopted;
//! use rustacuda::memory::DeviceBuffer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let _context = rustacuda::quick_init()?;
//! let buffer = DeviceBuffer::from_slice(&[0u8; 4096])?;
//! let device = Cuda::load()?.device(0)?;
//! let adopted = Adopted::new(device.as_ref(), buffer)?;
//! // … `adopted.memory()` is copied, exported, staged …
//! let buffer = adopted.into_buffer()?;
//! # drop(buffer);
//! # Ok(())
//! # }
//! ```

#![expect(unsafe_code, reason = "memory that rustacuda allocated is named by its address")]

use std::mem::ManuallyDrop;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::device::{Device, DeviceMemory, Vendor};
use rustacuda::memory::DeviceBuffer;

/// A buffer of `rustacuda`'s that is device memory of `llmd-kvxfer` meanwhile.
///
/// It stays in its thread, as the buffer does, whose context has to be current when it is freed. If clones of
/// [`memory`](Self::memory) or copies under way are left when this drops, the buffer is leaked: that is better than to free what a
/// copy writes to.
#[derive(Debug)]
pub struct Adopted {
    memory: ManuallyDrop<DeviceMemory>,
    buffer: ManuallyDrop<DeviceBuffer<u8>>,
}

impl Adopted {
    /// Takes a buffer that lies on `device`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when `device` is not one of CUDA's, [`ErrorKind::Invalid`] for a buffer of nothing; it is freed
    /// then.
    pub fn new(device: &dyn Device, mut buffer: DeviceBuffer<u8>) -> Result<Self> {
        let id = device.id();
        if id.vendor != Vendor::Nvidia {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a buffer of CUDA on {id}, expected a device of CUDA"),
            ));
        }
        let len = buffer.len() as u64;
        let address = buffer.as_device_ptr().as_raw() as u64;
        // SAFETY: the buffer is freed or given back only when the memory is held by nobody else.
        let memory = unsafe { device.adopt(address, len, Arc::new(())) }?;
        Ok(Self { memory: ManuallyDrop::new(memory), buffer: ManuallyDrop::new(buffer) })
    }

    /// What is copied.
    pub fn memory(&self) -> &DeviceMemory {
        &self.memory
    }

    /// The buffer back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when clones of the memory or copies under way are left; the buffer is leaked then.
    pub fn into_buffer(mut self) -> Result<DeviceBuffer<u8>> {
        if self.memory.is_shared() {
            let message = format!("{:?} is in use, expected neither clones nor copies under way", *self.memory);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        // SAFETY: neither is used after this: what would drop them is forgotten.
        let (memory, buffer) = unsafe { (ManuallyDrop::take(&mut self.memory), ManuallyDrop::take(&mut self.buffer)) };
        std::mem::forget(self);
        drop(memory);
        Ok(buffer)
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        let is_shared = self.memory.is_shared();
        // SAFETY: it is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.memory) };
        if !is_shared {
            // SAFETY: it is not used after this, and nobody copies to or from it.
            unsafe { ManuallyDrop::drop(&mut self.buffer) };
        }
    }
}
