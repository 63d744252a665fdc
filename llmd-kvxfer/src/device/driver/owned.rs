//! What a driver gave, and is given back.

#![expect(unsafe_code, reason = "a driver is given addresses")]

use std::sync::Arc;

use super::context::Context;

/// What is given back to the driver when it drops.
pub(super) struct Owned {
    pub(super) context: Arc<Context>,
    pub(super) what: What,
}

pub(super) enum What {
    Allocation(u64),
    Import(u64),
    Registration(u64),
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _entered = self.context.enter();
        let calls = self.context.calls();
        // SAFETY: it is the driver's, and nobody uses it any more. What the driver says cannot be told to anybody.
        _ = unsafe {
            match self.what {
                What::Allocation(address) => (calls.free)(address),
                What::Import(address) => (calls.ipc_close)(address),
                What::Registration(start) => (calls.unregister)(start as *mut _),
            }
        };
    }
}
