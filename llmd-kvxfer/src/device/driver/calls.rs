//! What we ask of a driver, in words that CUDA's and HIP's have in common.

#![expect(unsafe_code, reason = "drivers are called through pointers to C functions")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;

use llmd_core::Result;

use super::failure::Failure;

/// A stream, an event, a context, a module: whatever a driver gives a pointer for.
pub(super) type Handle = *mut c_void;
/// A driver's answer: 0, or what went wrong. An integer, since a driver may give more of them than an `enum` of today has.
pub(super) type Code = c_int;

// Addresses of devices are 64 bits wide in CUDA, and pointers in HIP: they are passed alike.
const _: () = assert!(size_of::<*mut c_void>() == size_of::<u64>(), "drivers have 64-bit addresses");

/// The calls. Where the two vendors differ, there is an `enum`; what only some drivers have is an `Option`.
///
/// CUDA's and HIP's flags and codes are the same numbers; `cuda` has that compared when it is compiled.
#[derive(Clone, Copy)]
pub(super) struct Calls {
    pub(super) init: unsafe extern "C" fn(c_uint) -> Code,
    pub(super) count: unsafe extern "C" fn(*mut c_int) -> Code,
    pub(super) error_name: Option<unsafe extern "C" fn(Code, *mut *const c_char) -> Code>,
    pub(super) current: Current,

    pub(super) allocate: unsafe extern "C" fn(*mut u64, usize) -> Code,
    pub(super) free: unsafe extern "C" fn(u64) -> Code,
    pub(super) allocation: unsafe extern "C" fn(*mut u64, *mut usize, u64) -> Code,
    pub(super) register: unsafe extern "C" fn(*mut c_void, usize, c_uint) -> Code,
    pub(super) unregister: unsafe extern "C" fn(*mut c_void) -> Code,

    pub(super) stream_create: unsafe extern "C" fn(*mut Handle, c_uint) -> Code,
    pub(super) stream_destroy: unsafe extern "C" fn(Handle) -> Code,
    pub(super) stream_synchronize: unsafe extern "C" fn(Handle) -> Code,
    pub(super) event_create: unsafe extern "C" fn(*mut Handle, c_uint) -> Code,
    pub(super) event_record: unsafe extern "C" fn(Handle, Handle) -> Code,
    pub(super) event_query: unsafe extern "C" fn(Handle) -> Code,
    pub(super) event_synchronize: unsafe extern "C" fn(Handle) -> Code,
    pub(super) event_destroy: unsafe extern "C" fn(Handle) -> Code,

    pub(super) to_device: unsafe extern "C" fn(u64, *const c_void, usize, Handle) -> Code,
    pub(super) to_host: unsafe extern "C" fn(*mut c_void, u64, usize, Handle) -> Code,
    pub(super) within: unsafe extern "C" fn(u64, u64, usize, Handle) -> Code,
    pub(super) batch: Option<Batch>,
    /// What batches are asked for besides: see [`BatchAttributes::flags`].
    pub(super) batch_flags: c_uint,
    pub(super) strided: Strided,

    pub(super) ipc_export: unsafe extern "C" fn(*mut IpcBytes, u64) -> Code,
    pub(super) ipc_open: unsafe extern "C" fn(*mut u64, IpcBytes, c_uint) -> Code,
    pub(super) ipc_close: unsafe extern "C" fn(u64) -> Code,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("batch", &self.batch.is_some()).finish_non_exhaustive()
    }
}

/// `CU_STREAM_NON_BLOCKING`: it does not wait for the engine's default stream.
pub(super) const STREAM_NON_BLOCKING: c_uint = 1;
/// `CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING`: who waits sleeps.
pub(super) const EVENT_BLOCKING_WITHOUT_TIME: c_uint = 3;
/// `CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP`: for every device, kernels included.
pub(super) const REGISTER_PORTABLE_MAPPED: c_uint = 3;
/// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`, which both ask for.
pub(super) const IPC_LAZY_PEER_ACCESS: c_uint = 1;

/// What a driver's handle is made of.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct IpcBytes(pub(super) [u8; 64]);

/// How a device is made the one that a thread speaks to.
#[derive(Clone, Copy)]
pub(super) enum Current {
    /// CUDA: contexts are a stack, and each device has a primary one, which engines use too.
    #[cfg(feature = "cuda")]
    Stack {
        device: unsafe extern "C" fn(*mut c_int, c_int) -> Code,
        retain: unsafe extern "C" fn(*mut Handle, c_int) -> Code,
        release: unsafe extern "C" fn(c_int) -> Code,
        push: unsafe extern "C" fn(Handle) -> Code,
        pop: unsafe extern "C" fn(*mut Handle) -> Code,
    },
    /// HIP: a thread has one.
    #[cfg(feature = "rocm")]
    Ordinal { get: unsafe extern "C" fn(*mut c_int) -> Code, set: unsafe extern "C" fn(c_int) -> Code },
}

/// Many copies in one call.
#[derive(Clone, Copy)]
pub(super) enum Batch {
    /// It says at which copy it failed: CUDA 12.8 and 12.9, HIP.
    Pointing(
        unsafe extern "C" fn(
            *mut u64,
            *mut u64,
            *mut usize,
            usize,
            *mut BatchAttributes,
            *mut usize,
            usize,
            *mut usize,
            Handle,
        ) -> Code,
    ),
    /// It does not: CUDA 13.
    #[cfg(feature = "cuda")]
    Plain(
        unsafe extern "C" fn(
            *mut u64,
            *mut u64,
            *mut usize,
            usize,
            *mut BatchAttributes,
            *mut usize,
            usize,
            Handle,
        ) -> Code,
    ),
}

/// `CUmemcpyAttributes`, `hipMemcpyAttributes`. The hints are for managed memory, which this never is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BatchAttributes {
    /// When the source is read: 1 for in the stream's order.
    pub(super) source_access_order: c_uint,
    pub(super) source_hint: [c_int; 2],
    pub(super) destination_hint: [c_int; 2],
    /// In CUDA 1 for beside kernels, where the hardware can; HIP keeps them for later.
    pub(super) flags: c_uint,
}

impl BatchAttributes {
    /// In the stream's order.
    pub(super) const fn in_order(flags: c_uint) -> Self {
        Self { source_access_order: 1, source_hint: [0; 2], destination_hint: [0; 2], flags }
    }
}

/// Rows at constant distances in one call.
#[derive(Clone, Copy)]
pub(super) enum Strided {
    /// CUDA.
    #[cfg(feature = "cuda")]
    Described(unsafe extern "C" fn(*const cudarc::driver::sys::CUDA_MEMCPY2D, Handle) -> Code),
    /// HIP: to, its stride, from, its stride, length, how many, kind.
    #[cfg(feature = "rocm")]
    Named(unsafe extern "C" fn(*mut c_void, usize, *const c_void, usize, usize, usize, c_int, Handle) -> Code),
}

impl Calls {
    /// What the driver calls a code.
    pub(super) fn name_of(&self, code: Code) -> Option<String> {
        let mut name = std::ptr::null();
        // SAFETY: the driver writes a pointer to a text of its own, or leaves it.
        unsafe { (self.error_name?)(code, &raw mut name) };
        // SAFETY: it is a text that ends with a zero and stays, or null.
        (!name.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }

    /// Makes an error of a code that is none of success.
    pub(super) fn check(&self, code: Code, doing: impl FnOnce() -> String) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(Failure { code, name: self.name_of(code) }.while_doing(&doing())) }
    }
}
