//! What a request took.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]

use llmd_core::Result;
use llmd_routing::Usage;

use crate::sized::{Settings, Sizes, settings};

/// What an engine says a request took, in tokens. What it does not say is below 0.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_usage {
    /// sizeof(llmd_usage).
    pub struct_size: usize,
    /// Of the prompt.
    pub prompt_tokens: i64,
    /// Of the prompt, that it did not compute.
    pub cached_tokens: i64,
    /// That it made.
    pub completion_tokens: i64,
}

impl Sizes for llmd_usage {
    const NAME: &'static str = "llmd_usage";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers, in C's layout, with the size first.
unsafe impl Settings for llmd_usage {}

/// The usage at `given`, which may be NULL.
///
/// # Safety
///
/// `given` is NULL, or is as `llmd.h` says.
pub(super) unsafe fn usage(given: *const llmd_usage) -> Result<Usage> {
    let mut usage = Usage::default();
    if !given.is_null() {
        // SAFETY: the caller's promise is the same.
        let given = unsafe { settings(given) }?;
        usage.prompt_tokens = u64::try_from(given.prompt_tokens).ok();
        usage.cached_tokens = u64::try_from(given.cached_tokens).ok();
        usage.completion_tokens = u64::try_from(given.completion_tokens).ok();
    }
    Ok(usage)
}
