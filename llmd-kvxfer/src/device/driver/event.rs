//! What a stream was asked for last, and whether it came that far.

#![expect(unsafe_code, reason = "a driver is asked through pointers to C functions")]

use std::fmt;
use std::ptr;
use std::sync::Arc;

use llmd_core::Result;

use super::calls::{EVENT_BLOCKING_WITHOUT_TIME, Handle};
use super::context::{Context, Permit};
use super::failure::NOT_READY;
use crate::device::Completion;

/// An event of a driver, which goes with it.
pub(super) struct Event {
    context: Arc<Context>,
    handle: Handle,
    _permit: Permit,
}

// SAFETY: drivers let any thread use an event, and only the owner of this one does.
unsafe impl Send for Event {}

impl Event {
    pub(super) fn new(context: &Arc<Context>, permit: Permit) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: the driver writes a handle.
        let code = unsafe { (context.calls().event_create)(&raw mut handle, EVENT_BLOCKING_WITHOUT_TIME) };
        context.check(code, || "making an event".to_owned())?;
        Ok(Self { context: Arc::clone(context), handle, _permit: permit })
    }

    pub(super) fn record(&self, stream: Handle) -> Result<()> {
        // SAFETY: both are alive.
        let code = unsafe { (self.context.calls().event_record)(self.handle, stream) };
        self.context.check(code, || "marking the end of copies".to_owned())
    }
}

impl Completion for Event {
    fn is_done(&mut self) -> Result<bool> {
        let _entered = self.context.enter()?;
        // SAFETY: the event is alive.
        match unsafe { (self.context.calls().event_query)(self.handle) } {
            NOT_READY => Ok(false),
            code => self.context.check(code, || "copying".to_owned()).map(|()| true),
        }
    }

    fn wait(&mut self) -> Result<()> {
        let _entered = self.context.enter()?;
        // SAFETY: the event is alive.
        let code = unsafe { (self.context.calls().event_synchronize)(self.handle) };
        self.context.check(code, || "copying".to_owned())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let _entered = self.context.enter();
        // SAFETY: it is alive, and used by nobody after this.
        _ = unsafe { (self.context.calls().event_destroy)(self.handle) };
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", self.context.id())
    }
}
