//! NIXL's peers, through NIXL's own library.
//!
//! [`Nixl::load`] opens `libnixl_capi.so`, the C interface that NIXL installs and its wheels (`nixl-cu12`, `nixl-cu13`) carry, when the
//! program runs: nothing of NIXL is needed to build, and a machine without it gets [`ErrorKind::Unsupported`]. An [`Agent`]
//! registers memory, reads and writes that of peers over whatever UCX finds (InfiniBand, NVLink, EFA, TCP, the same host), and
//! exchanges notifications; its peers are NIXL agents of the same version, vLLM's among them.
//!
//! An agent is told what to do and asked what has happened, owns no thread and has NIXL start none of its own. It does nothing
//! between calls: whoever serves peers calls [`Agent::poll`] often, for over some transports (TCP) it is in there that reads are answered.
//!
//! ```no_run
//! # use llmd_core::Result;
//! # use llmd_kvxfer::Copy;
//! # use llmd_kvxfer::nixl::*;
//! # fn example(pool: Memory, metadata: &Metadata, theirs: Remote<'_>) -> Result<()> {
//! let mut agent = Nixl::load(None)?.agent("decode-0", &AgentSettings::default())?;
//! let pool = agent.register(pool)?;
//! agent.add_peer("prefill-0", metadata)?;
//! let copies = [Copy { from: 65_536, to: 0, len: 4_096 }];
//! let transfer = agent.read(&theirs, &pool, &copies, Some(b"done"))?;
//! let mut events = Vec::new();
//! while !events.iter().any(|event| matches!(event, Event::Ended { id, .. } if *id == transfer)) {
//!     agent.poll(&mut events)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What NIXL does not do
//!
//! It does not say who a peer is, believes what peers tell of themselves ([`Metadata`]), and over some transports does not check what
//! they read: a process that has an agent trusts whoever reaches its ports. It shows that a transfer succeeded, and not when the last
//! byte of one that failed was written (see [`Event::Ended`]).
//!
//! UCX installs handlers for signals of its own. A fault in either library is a fault of the process, and over TCP there is one: UCX 1.23
//! may end a process that answers a read when the reader goes away. What NIXL is for is hardware.

mod agent;
mod capi;
mod find;
mod memory;
mod metadata;
mod owned;
mod session;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libloading::Library;
use llmd_core::{Error, ErrorKind, Result};

pub use self::agent::{Agent, AgentSettings, Event, Registration, Remote, TransferId};
pub use self::agent::{MAX_COPIES, MAX_MESSAGE, MAX_NAME, MAX_PEERS, MAX_REGISTRATIONS};
use self::capi::Interface;
pub use self::memory::{Memory, MemoryKind};
pub use self::metadata::{MAX_METADATA, Metadata};

/// NIXL's library, loaded. It stays loaded until the process ends.
#[derive(Clone, Debug)]
pub struct Nixl {
    interface: Arc<Interface>,
    path: PathBuf,
}

impl Nixl {
    /// Loads NIXL's C interface: the library at `path` or in the folder `path`, else what the variable `LLMD_NIXL_LIBRARY` names in the
    /// same way, else `libnixl_capi.so` where the dynamic linker looks, where NIXL installs itself, and in the wheels of the Python
    /// environment that is active (`VIRTUAL_ENV`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when there is none, naming every place that was tried and what was wrong there.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let mut tried = Vec::new();
        for candidate in find::candidates(path) {
            match open(&candidate) {
                Ok(interface) => return Ok(Self { interface: Arc::new(interface), path: candidate }),
                Err(why) => tried.push(format!("{} ({why})", candidate.display())),
            }
        }
        let variable = find::VARIABLE;
        let message = format!("no NIXL to load: tried {}; {variable} can name the library", tried.join(", "));
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// The path by which it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An agent of this name, which its peers know it by.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the name, or the name or a parameter of the backend, is empty, holds a zero byte, or is longer than
    /// [`MAX_NAME`]; [`ErrorKind::Unsupported`] when NIXL cannot have the backend here.
    pub fn agent(&self, name: &str, settings: &AgentSettings) -> Result<Agent> {
        Agent::new(Arc::clone(&self.interface), name, settings)
    }
}

/// The interface of the library at `path`, or what is wrong with it.
fn open(path: &Path) -> Result<Interface, String> {
    // A name alone is for the dynamic linker to look up.
    if path.components().count() > 1 && !path.is_file() {
        return Err("not there".to_owned());
    }
    // It stays, whatever is found in it: what a library has begun when it was loaded would not survive that it is not.
    let library: &'static Library = Box::leak(Box::new(load(path.as_os_str()).map_err(|error| error.to_string())?));
    match capi::is_stub(library) {
        Some(false) => Interface::of(library).map_err(|name| format!("has no function {name}")),
        Some(true) => Err("is a stub without NIXL behind it".to_owned()),
        None => Err(format!("has no function {}: expected NIXL 0.8 or later", capi::IS_STUB)),
    }
}

#[expect(unsafe_code, reason = "loading a library runs what it does when it is loaded")]
fn load(path: &OsStr) -> Result<Library, libloading::Error> {
    // SAFETY: it is the library that the user named or that is installed under NIXL's name: its code is trusted as that of the
    // program is. NIXL's and UCX's initialisers read the environment and install handlers, and do not call back.
    unsafe { Library::new(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_missing_is_unsupported_and_named() {
        let missing = Nixl::load(Some(Path::new("nowhere/libnixl_capi.so"))).unwrap_err();

        assert_eq!(missing.kind(), ErrorKind::Unsupported);
        assert_eq!(
            missing.to_string(),
            "no NIXL to load: tried nowhere/libnixl_capi.so (not there); LLMD_NIXL_LIBRARY can name the library"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_of_another_kind_is_refused_by_what_it_lacks() {
        let other = Nixl::load(Some(Path::new("libc.so.6"))).unwrap_err();

        assert_eq!(other.kind(), ErrorKind::Unsupported);
        assert!(other.to_string().contains("has no function nixl_capi_is_stub"), "{other}");
    }
}
