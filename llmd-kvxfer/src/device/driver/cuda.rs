//! NVIDIA's devices, by the CUDA driver.

#![expect(unsafe_code, reason = "the calls of a driver have the types that its header gives them")]

use std::ffi::c_uint;
use std::mem::offset_of;
use std::path::Path;
use std::sync::Arc;

use cudarc::driver::sys;
use llmd_core::Result;

use super::calls::{
    Batch, BatchAttributes, Calls, Current, EVENT_BLOCKING_WITHOUT_TIME, IPC_LAZY_PEER_ACCESS, IpcBytes,
    REGISTER_PORTABLE_MAPPED, STREAM_NON_BLOCKING, Strided,
};
use super::context::Driver;
use super::device::DriverDevice;
use super::failure::NOT_READY;
use super::kernel::Kernels;
use super::library::Library;
use crate::device::{Device, Vendor};

/// `CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE`: copies leave the multiprocessors to kernels.
const BESIDE_KERNELS: c_uint = 1;

/// The CUDA driver of this machine.
#[derive(Clone, Debug)]
pub struct Cuda {
    driver: Arc<Driver>,
}

impl Cuda {
    /// Loads it by the names that `cudarc` knows, `libcuda.so` and `libcuda.so.1` among them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](llmd_core::ErrorKind::Unsupported), naming what was looked for, where there is none, it is too old,
    /// or it finds no device.
    pub fn load() -> Result<Self> {
        let mut names = cudarc::get_lib_name_candidates("cuda");
        // The driver's own name first: without the number a toolkit's stub may be found, which has the calls and does nothing.
        names.sort_by_key(|name| name != "libcuda.so.1");
        Self::with(Library::first_of(&names)?)
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
        let (calls, kernels) = (calls(&library)?, Kernels::find(&library));
        Ok(Self { driver: Arc::new(Driver::new(Vendor::Nvidia, library, calls, kernels)?) })
    }

    /// How many devices the process sees.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub fn count(&self) -> Result<u32> {
        self.driver.count()
    }

    /// One of them, in its primary context, which engines use too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for one that there is not, else what the driver says.
    pub fn device(&self, ordinal: u32) -> Result<Arc<dyn Device>> {
        Ok(Arc::new(DriverDevice::open(&self.driver, ordinal)?))
    }
}

fn calls(library: &Library) -> Result<Calls> {
    let batch = || {
        // SAFETY: this is its type in the header of CUDA 13, as `cudarc` has it.
        let plain = unsafe { library.optional("cuMemcpyBatchAsync_v2") }.map(Batch::Plain);
        // SAFETY: and this in that of CUDA 12.8.
        plain.or_else(|| unsafe { library.optional("cuMemcpyBatchAsync") }.map(Batch::Pointing))
    };
    // SAFETY: the fields have the types that the header gives these calls, but that addresses, handles and answers are integers and
    // untyped pointers, which are passed alike.
    unsafe {
        Ok(Calls {
            init: library.call("cuInit")?,
            count: library.call("cuDeviceGetCount")?,
            error_name: library.optional("cuGetErrorName"),
            current: Current::Stack {
                device: library.call("cuDeviceGet")?,
                retain: library.call("cuDevicePrimaryCtxRetain")?,
                release: library.call("cuDevicePrimaryCtxRelease_v2")?,
                push: library.call("cuCtxPushCurrent_v2")?,
                pop: library.call("cuCtxPopCurrent_v2")?,
            },
            allocate: library.call("cuMemAlloc_v2")?,
            free: library.call("cuMemFree_v2")?,
            allocation: library.call("cuMemGetAddressRange_v2")?,
            register: library.call("cuMemHostRegister_v2")?,
            unregister: library.call("cuMemHostUnregister")?,
            stream_create: library.call("cuStreamCreate")?,
            stream_destroy: library.call("cuStreamDestroy_v2")?,
            stream_synchronize: library.call("cuStreamSynchronize")?,
            event_create: library.call("cuEventCreate")?,
            event_record: library.call("cuEventRecord")?,
            event_query: library.call("cuEventQuery")?,
            event_synchronize: library.call("cuEventSynchronize")?,
            event_destroy: library.call("cuEventDestroy_v2")?,
            to_device: library.call("cuMemcpyHtoDAsync_v2")?,
            to_host: library.call("cuMemcpyDtoHAsync_v2")?,
            within: library.call("cuMemcpyDtoDAsync_v2")?,
            batch: batch(),
            batch_flags: BESIDE_KERNELS,
            strided: Strided::Described(library.call("cuMemcpy2DAsync_v2")?),
            ipc_export: library.call("cuIpcGetMemHandle")?,
            ipc_open: library.call("cuIpcOpenMemHandle_v2")?,
            ipc_close: library.call("cuIpcCloseMemHandle")?,
        })
    }
}

// What the table says in words of neither vendor is what CUDA's header says.
const _: () = {
    use sys::CUevent_flags_enum::{CU_EVENT_BLOCKING_SYNC, CU_EVENT_DISABLE_TIMING};
    assert!(EVENT_BLOCKING_WITHOUT_TIME == CU_EVENT_BLOCKING_SYNC as c_uint | CU_EVENT_DISABLE_TIMING as c_uint);
    assert!(STREAM_NON_BLOCKING == sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as c_uint);
    assert!(REGISTER_PORTABLE_MAPPED == sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP);
    assert!(IPC_LAZY_PEER_ACCESS == sys::CUipcMem_flags_enum::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as c_uint);
    assert!(NOT_READY == sys::cudaError_enum::CUDA_ERROR_NOT_READY as i32);
    assert!(size_of::<sys::CUdeviceptr>() == size_of::<u64>());
    assert!(size_of::<IpcBytes>() == size_of::<sys::CUipcMemHandle>());
    assert!(BESIDE_KERNELS == sys::CUmemcpyFlags_enum::CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE as c_uint);
    let in_order = sys::CUmemcpySrcAccessOrder_enum::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM as c_uint;
    assert!(BatchAttributes::in_order(0).source_access_order == in_order);
    assert!(size_of::<BatchAttributes>() == size_of::<sys::CUmemcpyAttributes>());
    assert!(offset_of!(BatchAttributes, source_hint) == offset_of!(sys::CUmemcpyAttributes, srcLocHint));
    assert!(offset_of!(BatchAttributes, destination_hint) == offset_of!(sys::CUmemcpyAttributes, dstLocHint));
    assert!(offset_of!(BatchAttributes, flags) == offset_of!(sys::CUmemcpyAttributes, flags));
};
