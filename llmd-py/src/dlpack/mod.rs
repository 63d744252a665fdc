//! Memory as other libraries have it: regions, which are buffers and tensors, made of buffers, tensors and files; and the devices that
//! it may lie on.
#![expect(unsafe_code, reason = "tensors are handed over by address, in capsules")]

mod device;
mod region;

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use llmd_kvxfer::device::{DeviceId, Vendor};
use llmd_kvxfer::{DlpackForm, delete_dlpack};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

pub(crate) use self::device::Device;
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
    if let Ok(capsule) = object.cast::<PyCapsule>() {
        return taken(capsule).and_then(|capsule| region_of(&capsule)).map(Some);
    }
    let Some(method) = object.getattr_opt("__dlpack__")? else { return Ok(None) };
    let words = PyDict::new(py);
    let device = device_of(object)?.map(|id| device::open(py, id)).transpose()?;
    if device.is_some() {
        // No stream is to wait for another: what is in the memory now does not matter.
        words.set_item("stream", -1)?;
    }
    words.set_item("max_version", (1, 0))?;
    let capsule = match method.call((), Some(&words)) {
        // One of before version 1.
        Err(error) if error.is_instance_of::<PyTypeError>(py) => {
            words.del_item("max_version")?;
            method.call((), Some(&words))
        }
        other => other,
    }?;
    region_of(&capsule.cast_into::<PyCapsule>()?).map(Some)
}

/// The device of CUDA or ROCm that a tensor is on.
fn device_of(tensor: &Bound<'_, PyAny>) -> PyResult<Option<DeviceId>> {
    let Some(method) = tensor.getattr_opt("__dlpack_device__")? else { return Ok(None) };
    let (kind, number): (i32, i32) = method.call0()?.extract()?;
    let vendor = match kind {
        2 => Vendor::Nvidia,
        10 => Vendor::Amd,
        _ => return Ok(None),
    };
    // A number that is none is refused with the tensor.
    Ok(u32::try_from(number).ok().map(|ordinal| DeviceId { vendor, ordinal }))
}

/// The region of a capsule's tensor, which has the capsule.
fn region_of(capsule: &Bound<'_, PyCapsule>) -> PyResult<llmd_kvxfer::Region> {
    for form in FORMS {
        if let Ok(tensor) = capsule.pointer_checked(Some(name(form))) {
            // SAFETY: what a capsule of this name points to is a tensor of this form, and it and its memory stay until it is deleted.
            // Nobody but the region has the capsule, so that nobody takes it out, and the capsule deletes it when it goes.
            let region = unsafe { llmd_kvxfer::Region::adopt_dlpack(tensor, form, capsule.clone().unbind()) };
            return region.map_err(raise);
        }
    }
    Err(PyTypeError::new_err("a capsule that is no tensor, expected a DLPack tensor that nobody has taken"))
}

/// The tensor of a capsule that others have too, in one that nobody else has: nobody takes it out of theirs any more.
fn taken<'py>(capsule: &Bound<'py, PyCapsule>) -> PyResult<Bound<'py, PyCapsule>> {
    let found = FORMS.into_iter().find_map(|form| Some((form, capsule.pointer_checked(Some(name(form))).ok()?)));
    // What is none is refused as what came.
    let Some((form, tensor)) = found else { return Ok(capsule.clone()) };
    let used = match form {
        DlpackForm::Versioned => c"used_dltensor_versioned",
        _ => c"used_dltensor",
    };
    // SAFETY: the capsule is one, and the name stays for ever. With it its tensor is whoever's that took it.
    if unsafe { ffi::PyCapsule_SetName(capsule.as_ptr(), used.as_ptr()) } != 0 {
        return Err(PyErr::fetch(capsule.py()));
    }
    holding(capsule.py(), tensor, form)
}

/// A capsule that deletes this tensor unless somebody takes it out.
fn holding(py: Python<'_>, tensor: NonNull<c_void>, form: DlpackForm) -> PyResult<Bound<'_, PyCapsule>> {
    let destroy = match form {
        DlpackForm::Versioned => destroy_versioned,
        _ => destroy_plain,
    };
    // SAFETY: the tensor is there until it is deleted: by whoever takes it, who renames the capsule, or else by the destructor.
    let made = unsafe { PyCapsule::new_with_pointer_and_destructor(py, tensor, name(form), Some(destroy)) };
    if made.is_err() {
        // SAFETY: it is the caller's to give, and no capsule has it.
        unsafe { delete_dlpack(tensor, form) };
    }
    made
}

/// The region as a tensor, in a capsule.
fn capsule<'py>(py: Python<'py>, region: &llmd_kvxfer::Region, form: DlpackForm) -> PyResult<Bound<'py, PyCapsule>> {
    holding(py, region.to_dlpack(form).map_err(raise)?, form)
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
