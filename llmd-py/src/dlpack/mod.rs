//! Memory as other libraries have it: regions, which are buffers and tensors, made of buffers, tensors and files.
#![expect(unsafe_code, reason = "tensors are handed over by address, in capsules")]

mod region;

use std::ffi::CStr;
use std::ptr::NonNull;

use llmd_kvxfer::{DlpackForm, delete_dlpack};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

pub(crate) use self::region::{Memory, Region};
use crate::error::raise;

const FORMS: [DlpackForm; 2] = [DlpackForm::Versioned, DlpackForm::Plain];

/// What a capsule is called that holds a tensor nobody has taken.
const fn name(form: DlpackForm) -> &'static CStr {
    match form {
        DlpackForm::Versioned => c"dltensor_versioned",
        _ => c"dltensor",
    }
}

/// The memory of a tensor of another library, which keeps it there until nobody has the region; `None` for what is no tensor.
///
/// The capsule is kept as it came. It then deletes its tensor by itself when it goes, with the GIL held.
fn adopted(object: &Bound<'_, PyAny>) -> PyResult<Option<llmd_kvxfer::Region>> {
    let py = object.py();
    let Some(method) = object.getattr_opt("__dlpack__")? else { return Ok(None) };
    let words = PyDict::new(py);
    words.set_item("max_version", (1, 0))?;
    let capsule = match method.call((), Some(&words)) {
        // One of before version 1.
        Err(error) if error.is_instance_of::<PyTypeError>(py) => method.call0(),
        other => other,
    }?;
    let capsule = capsule.cast_into::<PyCapsule>()?;
    for form in FORMS {
        if let Ok(tensor) = capsule.pointer_checked(Some(name(form))) {
            // SAFETY: what a capsule of this name points to is a tensor of this form, and it and its memory stay until it is deleted.
            // Nobody but the region has the capsule, so that nobody takes it out, and the capsule deletes it when it goes.
            let region = unsafe { llmd_kvxfer::Region::adopt_dlpack(tensor, form, capsule.clone().unbind()) };
            return region.map(Some).map_err(raise);
        }
    }
    Err(PyTypeError::new_err("__dlpack__ gave a capsule that is no tensor, expected a DLPack tensor"))
}

/// The region as a tensor, in a capsule.
fn capsule<'py>(py: Python<'py>, region: &llmd_kvxfer::Region, form: DlpackForm) -> PyResult<Bound<'py, PyCapsule>> {
    let tensor = region.to_dlpack(form).map_err(raise)?;
    let destroy = match form {
        DlpackForm::Versioned => destroy_versioned,
        _ => destroy_plain,
    };
    // SAFETY: the tensor is there until it is deleted: by whoever takes it, who renames the capsule, or else by the destructor.
    let made = unsafe { PyCapsule::new_with_pointer_and_destructor(py, tensor, name(form), Some(destroy)) };
    if made.is_err() {
        // SAFETY: it was just made, and no capsule has it.
        unsafe { delete_dlpack(tensor, form) };
    }
    made
}

unsafe extern "C" fn destroy_plain(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this once, for the capsule that was made with it.
    unsafe { destroy(capsule, DlpackForm::Plain) };
}

unsafe extern "C" fn destroy_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: as above.
    unsafe { destroy(capsule, DlpackForm::Versioned) };
}

/// Deletes the tensor of a capsule out of which nobody took it.
///
/// # Safety
///
/// It is one of ours, of this form, and goes.
unsafe fn destroy(capsule: *mut ffi::PyObject, form: DlpackForm) {
    let name = name(form).as_ptr();
    // SAFETY: a capsule is asked whether it still has its name, and for what it points to.
    let tensor = unsafe {
        if ffi::PyCapsule_IsValid(capsule, name) == 0 {
            return;
        }
        NonNull::new(ffi::PyCapsule_GetPointer(capsule, name))
    };
    let Some(tensor) = tensor else { return };
    // SAFETY: with its name, what it points to is a tensor of this form that nobody has taken.
    let delete = || unsafe { delete_dlpack(tensor, form) };
    // What keeps the memory may be Python's: it goes at once where pyo3 knows that the GIL is held.
    if Python::try_attach(|_| delete()).is_none() {
        delete();
    }
}
