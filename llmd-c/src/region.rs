//! Memory that blocks are moved from and to.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use llmd_kvxfer::{DlpackForm, HostMemory, Region, delete_dlpack};

use crate::boundary::{boundary, given, invalid, made};
use crate::device::llmd_device;
use crate::error::llmd_error;
use crate::given::text;
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, settings};
use crate::status::llmd_status;

/// Memory that blocks are moved from and to, registered once for a whole pool. The memory is given back when the region and every
/// pool of it are freed, and no agent moves anything there any more.
///
/// It may lie on a device: then nothing reads it by an address but that device. Copies there wait for no stream of anybody's: whoever
/// lends blocks has synchronised with those that write them, and nobody touches those that are fetched into before the fetch has
/// ended.
#[derive(Clone, Debug)]
pub struct llmd_region(pub(crate) Region);

/// Memory of this machine to be allocated.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_memory {
    /// sizeof(llmd_memory).
    pub struct_size: usize,
    /// How many bytes.
    pub len: usize,
    /// 1 takes pages of 2 MiB, which the machine's administrator has to set aside.
    pub huge_pages: u32,
    /// 1 takes each page when it is first touched. Default: all at once, so that there are too few now and not later.
    pub lazy: u32,
    /// The NUMA node that the pages are of; NULL when any will do.
    pub node: *const u32,
}

impl Sizes for llmd_memory {
    const NAME: &'static str = "llmd_memory";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_memory {}

/// New memory, zero, that peers on this machine can map to read; NULL when there is none. LLMD_EXHAUSTED when there is not as much,
/// LLMD_UNSUPPORTED when there are no huge pages or no such node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_region_new(
    memory: *const llmd_memory,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let (given, node) = unsafe {
            let given = settings(memory)?;
            (given, given.node.as_ref())
        };
        let mut memory = HostMemory::new(given.len);
        if given.huge_pages != 0 {
            memory = memory.on_huge_pages();
        }
        if given.lazy != 0 {
            memory = memory.lazily();
        }
        if let Some(node) = node {
            memory = memory.on_node(*node);
        }
        memory.allocate().map(llmd_region)
    })
}

/// All of the file that `fd` is open for, mapped, for writing if it was opened so: a memfd of another library, for example. The
/// descriptor stays the caller's. NULL when it cannot be mapped.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_from_fd(
    fd: c_int,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    made(error, || {
        let wrong = || invalid(format!("file descriptor {fd}, expected one that is open"));
        if fd < 0 {
            return Err(wrong());
        }
        // SAFETY: the number is only used to have it duplicated, which says so when it is none.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let fd = fd.try_clone_to_owned().map_err(|cause| wrong().with_source(cause))?;
        Region::adopt_fd(fd).map(llmd_region)
    })
}

/// All of the file at `path`, mapped, for writing where that is allowed; NULL when it cannot be. LLMD_UNAVAILABLE when it cannot be
/// opened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_region_from_path(
    path: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    // SAFETY: as llmd.h says.
    made(error, || Region::adopt_path(unsafe { text(path, "path") }?).map(llmd_region))
}

/// `len` bytes of the caller's own from `start` on, which must be readable and writable, and stay, until the region, every pool of it
/// and the agents that these were registered with are freed. Peers cannot map such memory. NULL when there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_region_from_pointer(
    start: *mut c_void,
    len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    made(error, || {
        let start = given(NonNull::new(start), "start")?;
        if len == 0 || isize::try_from(len).is_err() {
            return Err(invalid(format!("memory of {len} bytes, expected 1 to {}", isize::MAX)));
        }
        // SAFETY: the caller promises the bytes, for as long as anything has them.
        Ok(llmd_region(unsafe { Region::adopt_pointer(start.cast(), len, ()) }))
    })
}

/// `len` bytes of the memory of a device. What is in them is not said. NULL when there are none: LLMD_EXHAUSTED when there is no room.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_on_device(
    device: Option<&llmd_device>,
    len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    made(error, || {
        let device = &given(device, "device")?.0;
        let memory = device.allocate(len as u64)?;
        Region::on_device(Arc::clone(device), memory).map(llmd_region)
    })
}

/// `len` bytes from `address` on in the memory of a device, which somebody else allocated, and which stay until the region, every
/// pool of it and the agents that these were registered with are freed. NULL when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_from_device_pointer(
    device: Option<&llmd_device>,
    address: u64,
    len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    made(error, || {
        let device = &given(device, "device")?.0;
        // SAFETY: the caller promises the bytes, for as long as anything has them. The device itself refuses others.
        let memory = unsafe { device.adopt(address, len as u64, Arc::new(())) }?;
        Region::on_device(Arc::clone(device), memory).map(llmd_region)
    })
}

/// The memory of a DLPack tensor: a `DLManagedTensor *`, or with `versioned` 1 a `DLManagedTensorVersioned *`, in this machine's
/// memory or on a device of CUDA or ROCm, which is opened by its number. It is the library's from now on, also when the call fails:
/// its deleter is called when nobody has the memory any more, from any thread. NULL when it cannot be taken: LLMD_UNSUPPORTED for
/// memory of another device and where there is no driver, LLMD_INVALID for a tensor that does not lie in one piece.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_region_from_dlpack(
    tensor: *mut c_void,
    versioned: u32,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_region>> {
    made(error, || {
        let tensor = given(NonNull::new(tensor), "tensor")?;
        let owner = Tensor { tensor, form: form(versioned) };
        // SAFETY: the caller says that it is a tensor of this form, which stays with its memory until its deleter is called.
        unsafe { Region::adopt_dlpack(tensor, owner.form, owner) }.map(llmd_region)
    })
}

/// Puts the region at `tensor` as a DLPack tensor of bytes, in the same two forms. It keeps the memory there until its deleter is
/// called. LLMD_UNSUPPORTED for a region that is only for reading in the form that cannot say so.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_to_dlpack(
    region: Option<&llmd_region>,
    versioned: u32,
    tensor: Option<&mut MaybeUninit<*mut c_void>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let slot = given(tensor, "tensor")?.write(ptr::null_mut());
        *slot = given(region, "region")?.0.to_dlpack(form(versioned))?.as_ptr();
        Ok(())
    })
}

/// A tensor of somebody else's, whose deleter is called when nobody has it any more.
struct Tensor {
    tensor: NonNull<c_void>,
    form: DlpackForm,
}

// SAFETY: DLPack has it that a tensor's deleter may be called from any thread.
unsafe impl Send for Tensor {}
// SAFETY: nothing is done with it but to drop it.
unsafe impl Sync for Tensor {}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: it was handed over, and is dropped once.
        unsafe { delete_dlpack(self.tensor, self.form) };
    }
}

const fn form(versioned: u32) -> DlpackForm {
    if versioned == 0 { DlpackForm::Plain } else { DlpackForm::Versioned }
}

/// The first byte of the memory, which is there as long as the region. NULL for NULL, and for memory of a device.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_data(region: Option<&llmd_region>) -> *mut c_void {
    let address = region.and_then(|region| region.0.address());
    address.map_or(ptr::null_mut(), |address| address.as_ptr().cast())
}

/// How many bytes it has. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_len(region: Option<&llmd_region>) -> usize {
    region.map_or(0, |region| region.0.len())
}

/// 1 where it may be written to, else 0. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_is_writable(region: Option<&llmd_region>) -> u32 {
    region.map_or(0, |region| region.0.is_writable().into())
}

/// The descriptor that peers on this machine map, which lives as long as the region; -1 where they cannot, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_fd(region: Option<&llmd_region>) -> c_int {
    region.and_then(|region| region.0.fd()).map_or(-1, |fd| fd.as_raw_fd())
}

/// Frees a region. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_region_free(region: Option<Box<llmd_region>>) {
    quietly((), || drop(region));
}
