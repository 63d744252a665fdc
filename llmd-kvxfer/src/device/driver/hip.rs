//! AMD's devices, by HIP.

#![expect(unsafe_code, reason = "the calls of a driver have the types that its header gives them")]

use std::path::Path;
use std::sync::Arc;

use llmd_core::Result;

use super::calls::{Batch, Calls, Current, Strided};
use super::context::Driver;
use super::device::DriverDevice;
use super::library::Library;
use crate::device::{Device, Vendor};

/// The HIP runtime of this machine.
#[derive(Clone, Debug)]
pub struct Hip {
    driver: Arc<Driver>,
}

/// As it is called, the newest first.
const NAMES: [&str; 4] = ["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"];

impl Hip {
    /// Loads it by the names that it has had.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](llmd_core::ErrorKind::Unsupported), naming what was looked for, where there is none, it is too old,
    /// or it finds no device.
    pub fn load() -> Result<Self> {
        Self::with(Library::first_of(&NAMES.map(str::to_owned))?)
    }

    /// Loads it from a file, which is trusted to be one.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_from(path: &Path) -> Result<Self> {
        Self::with(Library::at(path)?)
    }

    fn with(library: Library) -> Result<Self> {
        let calls = calls(&library)?;
        Ok(Self { driver: Arc::new(Driver::new(Vendor::Amd, library, calls, None)?) })
    }

    /// How many devices the process sees.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub fn count(&self) -> Result<u32> {
        self.driver.count()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for one that there is not, else what the driver says.
    pub fn device(&self, ordinal: u32) -> Result<Arc<dyn Device>> {
        Ok(Arc::new(DriverDevice::open(&self.driver, ordinal)?))
    }
}

fn calls(library: &Library) -> Result<Calls> {
    // SAFETY: the fields have the types that the header gives these calls, but that addresses are integers and handles untyped
    // pointers, which are passed alike.
    unsafe {
        Ok(Calls {
            init: library.call("hipInit")?,
            count: library.call("hipGetDeviceCount")?,
            error_name: library.optional("hipDrvGetErrorName"),
            current: Current::Ordinal { get: library.call("hipGetDevice")?, set: library.call("hipSetDevice")? },
            allocate: library.call("hipMalloc")?,
            free: library.call("hipFree")?,
            allocation: library.call("hipMemGetAddressRange")?,
            register: library.call("hipHostRegister")?,
            unregister: library.call("hipHostUnregister")?,
            stream_create: library.call("hipStreamCreateWithFlags")?,
            stream_destroy: library.call("hipStreamDestroy")?,
            stream_synchronize: library.call("hipStreamSynchronize")?,
            event_create: library.call("hipEventCreateWithFlags")?,
            event_record: library.call("hipEventRecord")?,
            event_query: library.call("hipEventQuery")?,
            event_synchronize: library.call("hipEventSynchronize")?,
            event_destroy: library.call("hipEventDestroy")?,
            to_device: library.call("hipMemcpyHtoDAsync")?,
            to_host: library.call("hipMemcpyDtoHAsync")?,
            within: library.call("hipMemcpyDtoDAsync")?,
            batch: library.optional("hipMemcpyBatchAsync").map(Batch::Pointing),
            batch_flags: 0,
            strided: Strided::Named(library.call("hipMemcpy2DAsync")?),
            ipc_export: library.call("hipIpcGetMemHandle")?,
            ipc_open: library.call("hipIpcOpenMemHandle")?,
            ipc_close: library.call("hipIpcCloseMemHandle")?,
        })
    }
}
