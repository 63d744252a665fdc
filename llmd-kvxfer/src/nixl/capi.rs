//! NIXL's C interface (`libnixl_capi.so`), declared by hand and looked up in the library.
//!
//! Only what is used here is declared. All of it has been the same from NIXL 0.8.0, which brought `nixl_capi_is_stub`, to
//! 1.5.2; the interface carries no version, so a library without one of these functions is refused.

#![expect(unsafe_code, reason = "functions are looked up by name in a library that was loaded")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use std::mem;
use std::process;

use libloading::Library;

/// What is only ever pointed to.
macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        pub(super) struct $name {
            _private: [u8; 0],
        }
    )*};
}

opaque!(CAgent, CBackend, COptions, CParams, CRequest, CSpans, CRegions, CNotifications);

/// `nixl_capi_agent_config_t`.
#[repr(C)]
pub(super) struct CConfig {
    pub(super) progress_thread: bool,
    pub(super) listen_thread: bool,
    pub(super) listen_port: c_int,
    pub(super) thread_sync: c_uint,
    pub(super) workers: c_uint,
    pub(super) progress_delay_us: u64,
    pub(super) listen_delay_us: u64,
    pub(super) telemetry: bool,
}

/// `NIXL_CAPI_THREAD_SYNC_NONE`: the caller lets in one thread at a time.
pub(super) const ONE_THREAD_AT_A_TIME: c_uint = 0;

/// `nixl_capi_mem_type_t`.
pub(super) const HOST: c_uint = 0;
pub(super) const DEVICE: c_uint = 1;

/// `nixl_capi_xfer_op_t`.
pub(super) const READ: c_uint = 0;
pub(super) const WRITE: c_uint = 1;

/// `nixl_capi_status_t`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub(super) struct Status(c_int);

impl Status {
    pub(super) const DONE: Self = Self(0);
    pub(super) const IN_PROGRESS: Self = Self(1);
    pub(super) const INVALID: Self = Self(-1);
    pub(super) const NOT_FOUND: Self = Self(-6);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "done",
            1 => "in progress",
            -1 => "invalid parameter",
            -2 => "backend error",
            -3 => "invalid state",
            -4 => "exception",
            -5 => "no telemetry",
            -6 => "not found",
            _ => "unknown status",
        };
        write!(f, "{name} ({})", self.0)
    }
}

/// Calls a function of the library, from which no C++ exception gets out.
///
/// The functions catch what is thrown below them; what one of them let through would end the process here, before it reaches a
/// caller's frame.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> T {
    struct Abort;
    impl Drop for Abort {
        fn drop(&mut self) {
            process::abort();
        }
    }
    let abort = Abort;
    let answer = call();
    mem::forget(abort);
    answer
}

/// What takes back a handle.
pub(super) type Destroy<T> = unsafe extern "C-unwind" fn(*mut T) -> Status;

macro_rules! interface {
    ($($(#[$doc:meta])* $name:ident($($argument:ty),*);)*) => {
        /// The functions of one library.
        pub(super) struct Interface {
            $($(#[$doc])* pub(super) $name: unsafe extern "C-unwind" fn($($argument),*) -> Status,)*
        }

        impl Interface {
            /// Looks every function up in a library that is never unloaded; the error names the first that is missing.
            pub(super) fn of(library: &'static Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        let name = concat!("nixl_capi_", stringify!($name));
                        // SAFETY: the type is the one that NIXL's `wrapper.h` declares under this name, from 0.8.0 to 1.5.2.
                        *unsafe { library.get(name) }.map_err(|_| name)?
                    },)*
                })
            }
        }
    };
}

interface! {
    create_configured_agent(*const c_char, *const CConfig, *mut *mut CAgent);
    destroy_agent(*mut CAgent);
    create_params(*mut *mut CParams);
    params_add(*mut CParams, *const c_char, *const c_char);
    destroy_params(*mut CParams);
    create_backend(*mut CAgent, *const c_char, *mut CParams, *mut *mut CBackend);
    destroy_backend(*mut CBackend);
    create_opt_args(*mut *mut COptions);
    opt_args_set_notif_msg(*mut COptions, *const c_void, usize);
    opt_args_set_has_notif(*mut COptions, bool);
    destroy_opt_args(*mut COptions);
    /// Gives bytes that `free` takes back.
    get_local_md(*mut CAgent, *mut *mut c_void, *mut usize);
    /// Gives a name that `free` takes back.
    load_remote_md(*mut CAgent, *const c_void, usize, *mut *mut c_char);
    invalidate_remote_md(*mut CAgent, *const c_char);
    check_remote_md(*mut CAgent, *const c_char, *mut CSpans);
    create_reg_dlist(c_uint, *mut *mut CRegions);
    reg_dlist_add_desc(*mut CRegions, usize, usize, u64, *const c_void, usize);
    destroy_reg_dlist(*mut CRegions);
    register_mem(*mut CAgent, *mut CRegions, *mut COptions);
    deregister_mem(*mut CAgent, *mut CRegions, *mut COptions);
    create_xfer_dlist(c_uint, *mut *mut CSpans);
    xfer_dlist_add_desc(*mut CSpans, usize, usize, u64);
    destroy_xfer_dlist(*mut CSpans);
    create_xfer_req(*mut CAgent, c_uint, *mut CSpans, *mut CSpans, *const c_char, *mut *mut CRequest, *mut COptions);
    post_xfer_req(*mut CAgent, *mut CRequest, *mut COptions);
    get_xfer_status(*mut CAgent, *mut CRequest);
    release_xfer_req(*mut CAgent, *mut CRequest);
    destroy_xfer_req(*mut CRequest);
    create_notif_map(*mut *mut CNotifications);
    destroy_notif_map(*mut CNotifications);
    notif_map_clear(*mut CNotifications);
    notif_map_size(*mut CNotifications, *mut usize);
    notif_map_get_agent_at(*mut CNotifications, usize, *mut *const c_char);
    notif_map_get_notifs_size(*mut CNotifications, *const c_char, *mut usize);
    notif_map_get_notif(*mut CNotifications, *const c_char, usize, *mut *const c_void, *mut usize);
    get_notifs(*mut CAgent, *mut CNotifications, *mut COptions);
    gen_notif(*mut CAgent, *const c_char, *const c_void, usize, *mut COptions);
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface").finish_non_exhaustive()
    }
}

/// `nixl_capi_is_stub`, which NIXL has since 0.8.0: whether the library only stands in for NIXL.
pub(super) const IS_STUB: &str = "nixl_capi_is_stub";

/// Whether the library is a stand-in; `None` when it does not say, and so is older than what is declared here.
pub(super) fn is_stub(library: &Library) -> Option<bool> {
    // SAFETY: the function takes nothing and returns a C++ `bool`, in every version that has it.
    let is_stub = unsafe { library.get::<unsafe extern "C-unwind" fn() -> bool>(IS_STUB) }.ok()?;
    // SAFETY: as above; it reads nothing.
    Some(guarded(|| unsafe { is_stub() }))
}

unsafe extern "C" {
    /// The C library's, by which NIXL's C interface allocates what it hands out.
    pub(super) fn free(memory: *mut c_void);
}
