//! Headers: of the response, and of the request on its way to the endpoints.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;

use super::held::Header;
use super::{llmd_decision, said};
use crate::boundary::{boundary, given};
use crate::endpoint::llmd_pair;
use crate::error::llmd_error;
use crate::filled::fill;
use crate::status::llmd_status;

/// Writes to `headers` what to add to the response. `headers_len` says how many there is room for, and is told how many
/// there are. LLMD_EXHAUSTED when that is more; nothing else is written then. Names and values live as long as the decision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_headers(
    decision: Option<&llmd_decision>,
    headers: *mut llmd_pair,
    headers_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let mut held = given(decision, "decision")?.0.lock();
        // SAFETY: as llmd.h says.
        unsafe { fill(headers, headers_len, pairs(held.headers()), "headers") }
    })
}

/// Writes to `headers` what to set in the request that goes to the endpoints, in the place of headers of the same name: where
/// its other stages are done, and for which rank it is. Before that, remove what llmd_decision_request_headers_removed names.
/// Room and lifetimes are as for llmd_decision_headers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_request_headers(
    decision: Option<&llmd_decision>,
    headers: *mut llmd_pair,
    headers_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let mut held = given(decision, "decision")?.0.lock();
        // SAFETY: as llmd.h says.
        unsafe { fill(headers, headers_len, pairs(&held.changes().set), "headers") }
    })
}

/// Writes to `names` which headers the client may have sent that go no further, in lower case. `names_len` says how many there
/// is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else is written then. Names live as
/// long as the decision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_request_headers_removed(
    decision: Option<&llmd_decision>,
    names: *mut *const c_char,
    names_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let mut held = given(decision, "decision")?.0.lock();
        let removed = held.changes().remove.iter().map(|name| name.as_ptr());
        // SAFETY: as llmd.h says.
        unsafe { fill(names, names_len, removed, "names") }
    })
}

/// Where the request is sent (`host:port`) in the place of its endpoint's address. Lives as long as the decision; NULL where it
/// is sent there, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_destination(decision: Option<&llmd_decision>) -> *const c_char {
    said(decision, ptr::null(), |held| held.changes().destination.as_ref().map_or(ptr::null(), |to| to.as_ptr()))
}

fn pairs(headers: &[Header]) -> impl ExactSizeIterator<Item = llmd_pair> + use<'_> {
    headers.iter().map(|(name, value): &(CString, CString)| llmd_pair { name: name.as_ptr(), value: value.as_ptr() })
}
