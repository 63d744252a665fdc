//! What a scheduler must be given.
#![expect(unsafe_code, reason = "what C hands over is written through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::{MaybeUninit, offset_of};

use super::llmd_scheduler;
use crate::boundary::{boundary, given};
use crate::error::llmd_error;
use crate::sized::{Sizes, answer};
use crate::status::llmd_status;

/// What a scheduler must be given: each is 1 when its plugins read it, and 0 when it need not be made.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_needs {
    /// sizeof(llmd_needs).
    pub struct_size: usize,
    /// The prompt as tokens.
    pub tokens: u32,
    /// What engines say about themselves.
    pub metrics: u32,
    /// KV events.
    pub events: u32,
    /// When the first token of a response passed.
    pub response: u32,
    /// Anything in the body of a request besides the model's name.
    pub body: u32,
    /// The cookies of a request, which say who somebody is: leave the header `cookie` out else.
    pub cookies: u32,
    /// What others than the engines measure of endpoints.
    pub attributes: u32,
    /// What the engine says at the end of a response that it took.
    pub usage: u32,
}

impl Sizes for llmd_needs {
    const NAME: &'static str = "llmd_needs";
    const SIZES: &'static [usize] = &[offset_of!(Self, body), size_of::<Self>()];
}

/// What the scheduler must be given, so that nothing else is read, made or scraped. Set `needs->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_scheduler_needs(
    scheduler: Option<&llmd_scheduler>,
    needs: *mut llmd_needs,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let scheduler = &given(scheduler, "scheduler")?.0;
        let tell = |struct_size| {
            let needs = scheduler.needs();
            Ok(llmd_needs {
                struct_size,
                tokens: u32::from(needs.tokens),
                metrics: u32::from(needs.metrics),
                events: u32::from(needs.events),
                response: u32::from(needs.response),
                body: u32::from(needs.body),
                cookies: u32::from(needs.cookies),
                attributes: u32::from(needs.attributes),
                usage: u32::from(needs.usage),
            })
        };
        // SAFETY: as llmd.h says.
        unsafe { answer(needs, tell) }
    })
}
