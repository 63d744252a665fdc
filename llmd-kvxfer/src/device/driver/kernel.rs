//! The kernels that pack and unpack, and how they are launched.

#![expect(unsafe_code, reason = "a driver is given code and arguments by address")]

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::{fmt, ptr};

use llmd_core::Result;

use super::calls::{Code, Handle};
use super::context::Context;
use super::library::Library;
use crate::device::Direction;

/// Made from `kernel/pack.cu` by `kernel/compile.py`; a driver compiles it for its device. It ends with a zero, as drivers want.
const PTX: &str = concat!(include_str!("kernel/pack.ptx"), "\0");

/// Threads of a block, each of which moves 16 bytes at a time.
const THREADS: c_uint = 256;
/// Blocks at most: enough for many times what the bus carries, and few beside what decodes. It bounds copies within a device too.
const MAX_BLOCKS: u64 = 32;

/// The calls of a driver that runs kernels.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    load: unsafe extern "C" fn(*mut Handle, *const c_void) -> Code,
    unload: unsafe extern "C" fn(Handle) -> Code,
    function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> Code,
    launch: unsafe extern "C" fn(
        Handle,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        Handle,
        *mut *mut c_void,
        *mut *mut c_void,
    ) -> Code,
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernels")
    }
}

impl Kernels {
    /// Those of this driver, if it has all.
    pub(super) fn find(library: &Library) -> Option<Self> {
        // SAFETY: the fields have the types that the header gives these calls, but that handles are untyped pointers.
        unsafe {
            Some(Self {
                load: library.optional("cuModuleLoadData")?,
                unload: library.optional("cuModuleUnload")?,
                function: library.optional("cuModuleGetFunction")?,
                launch: library.optional("cuLaunchKernel")?,
            })
        }
    }
}

/// The kernels as they are loaded in a context.
#[derive(Debug)]
pub(super) struct Pack {
    kernels: Kernels,
    module: Handle,
    gather: Handle,
    scatter: Handle,
}

// SAFETY: drivers let any thread launch what is loaded.
unsafe impl Send for Pack {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Pack {}

impl Pack {
    /// Loads them into a context that was entered.
    pub(super) fn load(context: &Context, kernels: Kernels) -> Result<Self> {
        let mut module = ptr::null_mut();
        // SAFETY: the image is PTX that ends with a zero; the driver writes a handle.
        let code = unsafe { (kernels.load)(&raw mut module, PTX.as_ptr().cast()) };
        context.check(code, || "loading the pack kernels".to_owned())?;
        let function = |name: &CStr| {
            let mut function = ptr::null_mut();
            // SAFETY: the module is loaded, the name ends with a zero, and the driver writes a handle.
            let code = unsafe { (kernels.function)(&raw mut function, module, name.as_ptr()) };
            context.check(code, || format!("finding the kernel {}", name.to_string_lossy())).map(|()| function)
        };
        let (gather, scatter) = (function(c"llmd_gather"), function(c"llmd_scatter"));
        let mut pack = Self { kernels, module, gather: ptr::null_mut(), scatter: ptr::null_mut() };
        match (gather, scatter) {
            (Ok(gather), Ok(scatter)) => (pack.gather, pack.scatter) = (gather, scatter),
            (Err(error), _) | (_, Err(error)) => {
                pack.unload();
                return Err(error);
            }
        }
        Ok(pack)
    }

    /// To be called in its context, when nothing of it is under way.
    pub(super) fn unload(&self) {
        // SAFETY: it is loaded, and not used after this.
        _ = unsafe { (self.kernels.unload)(self.module) };
    }

    /// Packs what the table at `table` names into `slab`, which may be any memory of the device, or unpacks it from there.
    ///
    /// # Safety
    ///
    /// By the time that the stream comes here, `table` holds `count` entries, whose bytes are in device memory that lives until the
    /// stream went on.
    pub(super) unsafe fn launch(
        &self,
        context: &Context,
        direction: Direction,
        table: u64,
        count: u64,
        slab: u64,
        stream: Handle,
    ) -> Result<()> {
        let function = match direction {
            Direction::ToDevice => self.scatter,
            Direction::ToHost => self.gather,
        };
        let blocks = count.min(MAX_BLOCKS) as c_uint;
        let (mut table, mut count, mut slab) = (table, count, slab);
        let mut arguments: [*mut c_void; 3] =
            [(&raw mut table).cast(), (&raw mut count).cast(), (&raw mut slab).cast()];
        // SAFETY: the function takes three numbers of 64 bits, which the driver copies before it returns; for what they name the
        // caller vouches.
        let code = unsafe {
            (self.kernels.launch)(
                function,
                blocks,
                1,
                1,
                THREADS,
                1,
                1,
                0,
                stream,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        context.check(code, || format!("packing {count} copies"))
    }
}
