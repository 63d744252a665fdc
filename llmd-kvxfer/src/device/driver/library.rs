//! A driver's library, and the calls in it.

#![expect(unsafe_code, reason = "a library runs code when it is loaded, and its symbols have the types that we say")]

use std::mem::ManuallyDrop;
use std::path::Path;

use libloading::{AsSymbolName, Library as Loaded};
use llmd_core::{Error, ErrorKind, Result};

/// A driver's library. It has threads of its own, so it stays loaded until the process ends.
#[derive(Debug)]
pub(super) struct Library {
    loaded: ManuallyDrop<Loaded>,
    name: String,
}

impl Library {
    /// The first of these names that the system's loader finds.
    pub(super) fn first_of(names: &[String]) -> Result<Self> {
        let mut last = None;
        for name in names {
            // SAFETY: a vendor's driver may be loaded at any time, from any thread.
            match unsafe { Loaded::new(name) } {
                Ok(loaded) => return Ok(Self { loaded: ManuallyDrop::new(loaded), name: name.clone() }),
                Err(error) => last = Some(error),
            }
        }
        let message = format!("no driver's library was found: looked for {}", names.join(", "));
        let error = Error::new(ErrorKind::Unsupported, message);
        Err(match last {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }

    /// The one in this file.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        // SAFETY: who names a file as the driver says that it is one.
        let loaded = unsafe { Loaded::new(path) }.map_err(|cause| {
            Error::new(ErrorKind::Unsupported, format!("no driver's library was found: looked for {name}"))
                .with_source(cause)
        })?;
        Ok(Self { loaded: ManuallyDrop::new(loaded), name })
    }

    /// The call of this name.
    ///
    /// # Safety
    ///
    /// `T` is the type of a function pointer, which is the call's.
    pub(super) unsafe fn call<T: Copy>(&self, name: &str) -> Result<T> {
        // SAFETY: the caller vouches for the type.
        unsafe { self.optional(name) }.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("`{}` has no `{name}`: expected a newer driver", self.name))
        })
    }

    /// The call of this name, if the driver has it.
    ///
    /// # Safety
    ///
    /// As for [`call`](Self::call).
    pub(super) unsafe fn optional<T: Copy>(&self, name: impl AsSymbolName) -> Option<T> {
        // SAFETY: the caller vouches for the type; the library is never unloaded, so the pointer stays good.
        unsafe { self.loaded.get::<T>(name) }.ok().map(|symbol| *symbol)
    }
}
