//! Accelerators in whose memory regions lie.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;

use llmd_kvxfer::device::{Device, open, open_from};

use crate::boundary::made;
use crate::error::llmd_error;
use crate::given::{text, text_or_null};
use crate::quiet::quietly;

/// An accelerator, by its driver, which is loaded when it is wanted. As long as somebody has it (this object, a region on it, a
/// transport that imports by it), it is the same for all of the process who name it.
#[derive(Clone, Debug)]
pub struct llmd_device(pub(crate) Arc<dyn Device>);

/// The device of this name, such as `cuda:0` or `rocm:1`, by the driver of the system, or, where it is not NULL, by the library in
/// the file `library`, which is trusted to be one. NULL when it cannot be opened: LLMD_UNSUPPORTED, naming what was looked for, where
/// there is no driver; LLMD_INVALID for a device that there is not, and for one that is open by another library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_device_open(
    name: *const c_char,
    library: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_device>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let (name, library) = unsafe { (text(name, "name")?, text_or_null(library, "library")?) };
        let id = name.parse()?;
        library.map_or_else(|| open(id), |library| open_from(id, Path::new(library))).map(llmd_device)
    })
}

/// Frees a device. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_device_free(device: Option<Box<llmd_device>>) {
    quietly((), || drop(device));
}
