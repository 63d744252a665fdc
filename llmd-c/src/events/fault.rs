//! An event that could not be read.

use std::ffi::{CString, c_char};

use llmd_core::event::EventError;

use crate::sized::Sizes;
use crate::string::terminated;

/// One event of a batch that could not be read.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_event_error {
    /// sizeof(llmd_event_error).
    pub struct_size: usize,
    /// Which event of the batch it is, counted from 0; how many events there are, when it is something behind them.
    pub event: usize,
    /// The first byte of the payload that could not be read.
    pub byte: usize,
    /// The field it stands in, as the engine names it; empty when no field had begun.
    pub field: *const c_char,
    /// What was found and what was expected.
    pub message: *const c_char,
}

impl Sizes for llmd_event_error {
    const NAME: &'static str = "llmd_event_error";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

/// The same, with its texts as C reads them.
#[derive(Debug)]
pub(super) struct Fault {
    event: usize,
    byte: usize,
    field: CString,
    message: CString,
}

impl Fault {
    pub(super) fn new(error: &EventError) -> Self {
        Self {
            event: error.event,
            byte: error.byte,
            field: terminated(error.field),
            message: terminated(error.message.as_str()),
        }
    }

    pub(super) fn told(&self, struct_size: usize) -> llmd_event_error {
        let Self { event, byte, ref field, ref message } = *self;
        llmd_event_error { struct_size, event, byte, field: field.as_ptr(), message: message.as_ptr() }
    }
}
