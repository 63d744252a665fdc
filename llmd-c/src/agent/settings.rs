//! What an agent is made with.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]

use std::ffi::{c_char, c_int};
use std::path::Path;
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Agent, Check};

use crate::boundary::invalid;
use crate::given::{items, text, text_or_null, texts};
use crate::sized::{Settings, Sizes, settings};

/// When what arrives is held against what was granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_check {
    /// Whichever way it comes.
    LLMD_CHECK_ALWAYS = 0,
    /// When it comes from another machine, or may.
    LLMD_CHECK_REMOTE = 1,
    /// Never.
    LLMD_CHECK_OFF = 2,
}

/// A tenant, and the key by which its agents prove that they are of it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_tenant {
    /// Its name.
    pub name: *const c_char,
    /// The key.
    pub key: *const u8,
    /// How many bytes it has.
    pub key_len: usize,
}

/// What an agent is made with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_agent_settings {
    /// sizeof(llmd_agent_settings).
    pub struct_size: usize,
    /// Its name, which is said to peers and means nothing else.
    pub name: *const c_char,
    /// By what blocks are moved: `shm` between processes of one machine, `cuda_ipc` between their devices, by the first of CUDA or
    /// else of ROCm, or by the one that `cuda_ipc://cuda:1` names, `tcp://HOST:PORT` between machines, listening there, `local`
    /// between the agents of one process. Default: `shm`.
    pub transports: *const *const c_char,
    /// How many there are.
    pub transports_len: usize,
    /// Where the sockets of `shm` and `cuda_ipc` lie. Default: a folder of the user's own.
    pub folder: *const c_char,
    /// The tenant that it belongs to. Default: one that needs no proof.
    pub tenant: *const llmd_tenant,
    /// Other tenants who are let in.
    pub serve: *const llmd_tenant,
    /// How many there are.
    pub serve_len: usize,
    /// An llmd_check. Default: LLMD_CHECK_ALWAYS.
    pub check: c_int,
    /// How many threads copy. Default: half of the cores, 1 to 4.
    pub copy_threads: usize,
    /// How many leases may hold at once. Default: 65,536.
    pub max_leases: usize,
    /// How many operations may be under way, or have ended without being polled. Default: 65,536.
    pub max_operations: usize,
    /// How long its thread goes on looking after something happened before it sleeps, in microseconds. Default: 50.
    pub spin_us: u64,
}

impl Sizes for llmd_agent_settings {
    const NAME: &'static str = "llmd_agent_settings";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_agent_settings {}

/// The agent of these settings.
///
/// # Safety
///
/// They are as `llmd.h` says.
pub(super) unsafe fn build(given: *const llmd_agent_settings) -> Result<Agent> {
    // SAFETY: the caller's promise is the same, for the struct and for all that it points to.
    let (given, name, transports, folder, serve) = unsafe {
        let given = settings(given)?;
        (
            given,
            text(given.name, "name")?,
            texts(given.transports, given.transports_len, "transports")?,
            text_or_null(given.folder, "folder")?.map(Path::new),
            items(given.serve, given.serve_len, "serve")?,
        )
    };
    let mut builder = Agent::builder(name).check(check(given.check)?);
    // SAFETY: as above.
    if let Some(tenant) = unsafe { given.tenant.as_ref() } {
        // SAFETY: as above.
        let (name, key) = unsafe { read(tenant) }?;
        builder = builder.tenant(name, key);
    }
    for tenant in serve {
        // SAFETY: as above.
        let (name, key) = unsafe { read(tenant) }?;
        builder = builder.serve(name, key);
    }
    if given.copy_threads > 0 {
        builder = builder.copy_threads(given.copy_threads);
    }
    if given.max_leases > 0 {
        builder = builder.max_leases(given.max_leases);
    }
    if given.max_operations > 0 {
        builder = builder.max_operations(given.max_operations);
    }
    if given.spin_us > 0 {
        builder = builder.spin(Duration::from_micros(given.spin_us));
    }
    let transports = if transports.is_empty() { vec!["shm"] } else { transports };
    for transport in transports {
        builder = builder.transport_named(transport, folder)?;
    }
    builder.build()
}

unsafe fn read<'a>(tenant: &llmd_tenant) -> Result<(&'a str, &'a [u8])> {
    // SAFETY: as llmd.h says.
    unsafe { Ok((text(tenant.name, "tenant")?, items(tenant.key, tenant.key_len, "key")?)) }
}

fn check(number: c_int) -> Result<Check> {
    const ALWAYS: c_int = llmd_check::LLMD_CHECK_ALWAYS as c_int;
    const REMOTE: c_int = llmd_check::LLMD_CHECK_REMOTE as c_int;
    const OFF: c_int = llmd_check::LLMD_CHECK_OFF as c_int;
    match number {
        ALWAYS => Ok(Check::Always),
        REMOTE => Ok(Check::Remote),
        OFF => Ok(Check::Off),
        _ => Err(invalid(format!("check {number}, expected an llmd_check"))),
    }
}
