//! What a scheduler is made with.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]

use std::ffi::c_char;

use llmd_core::Result;

use crate::given::text;
use crate::sized::{Settings, Sizes, settings};

/// What a scheduler is made with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_scheduler_settings {
    /// sizeof(llmd_scheduler_settings).
    pub struct_size: usize,
    /// The configuration, an EndpointPickerConfig of llm-d in YAML.
    pub yaml: *const c_char,
    /// 1 allows plugins that are experimental in llm-d. Default: they are refused.
    pub allow_experimental: u32,
}

impl Sizes for llmd_scheduler_settings {
    const NAME: &'static str = "llmd_scheduler_settings";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_scheduler_settings {}

/// The settings, read.
pub(crate) struct Plan<'a> {
    pub(crate) yaml: &'a str,
    pub(crate) experimental: bool,
}

/// The settings at `given`.
///
/// # Safety
///
/// It is as `llmd.h` says.
pub(crate) unsafe fn plan<'a>(given: *const llmd_scheduler_settings) -> Result<Plan<'a>> {
    // SAFETY: the caller's promise is the same, for the struct and for all that it points to.
    let given = unsafe { settings(given) }?;
    // SAFETY: as above.
    Ok(Plan { yaml: unsafe { text(given.yaml, "yaml") }?, experimental: given.allow_experimental != 0 })
}
