//! What plugins report of a complete response.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use super::llmd_decision;
use super::usage::{llmd_usage, usage};
use crate::boundary::{boundary, given};
use crate::error::llmd_error;
use crate::filled::fill;
use crate::status::llmd_status;

/// One thing that is reported of a complete response.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_reported {
    /// The namespace of its name, as Envoy's dynamic metadata has it.
    pub name_space: *const c_char,
    /// Its name.
    pub name: *const c_char,
    /// Its value.
    pub value: i64,
}

/// Writes to `reported` what plugins report of a complete response that took `used`, which may be NULL. `reported_len` says how
/// many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else is written then. Names
/// live as long as the decision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_report(
    decision: Option<&llmd_decision>,
    used: *const llmd_usage,
    reported: *mut llmd_reported,
    reported_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let decision = given(decision, "decision")?;
        // SAFETY: as llmd.h says.
        let used = unsafe { usage(used) }?;
        let mut held = decision.0.lock();
        let report = held.decision.report(&used);
        let told = report.iter().map(|reported| llmd_reported {
            name_space: held.say(&reported.namespace),
            name: held.say(&reported.name),
            value: reported.value,
        });
        // SAFETY: as llmd.h says.
        unsafe { fill(reported, reported_len, told, "reported") }
    })
}
