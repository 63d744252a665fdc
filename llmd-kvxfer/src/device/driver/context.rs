//! A driver that was loaded, and one of its devices as a thread speaks to it.

#![expect(unsafe_code, reason = "a driver is asked through pointers to C functions")]

use std::ffi::c_int;
#[cfg(feature = "cuda")]
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmd_core::{Error, ErrorKind, Result};

#[cfg(feature = "cuda")]
use super::calls::Handle;
use super::calls::{Calls, Code, Current};
use super::kernel::Kernels;
use super::library::Library;
use crate::device::{DeviceId, Vendor};

/// A driver that was loaded and knows what it is.
#[derive(Debug)]
pub(super) struct Driver {
    vendor: Vendor,
    calls: Calls,
    kernels: Option<Kernels>,
    /// Keeps the calls where they are.
    _library: Library,
}

impl Driver {
    pub(super) fn new(vendor: Vendor, library: Library, calls: Calls, kernels: Option<Kernels>) -> Result<Self> {
        // SAFETY: this is the first call of a driver, any number of times.
        calls.check(unsafe { (calls.init)(0) }, || format!("starting the driver of {vendor}"))?;
        Ok(Self { vendor, calls, kernels, _library: library })
    }

    pub(super) const fn kernels(&self) -> Option<Kernels> {
        self.kernels
    }

    pub(super) fn count(&self) -> Result<u32> {
        let mut count = 0;
        // SAFETY: the driver writes a number.
        let code = unsafe { (self.calls.count)(&raw mut count) };
        self.calls.check(code, || format!("counting the devices of {}", self.vendor))?;
        Ok(count.try_into().unwrap_or(0))
    }
}

/// How many tickets of a device may be under way.
const MAX_UNDER_WAY: u64 = 1024;

/// One device of a driver.
#[derive(Debug)]
pub(super) struct Context {
    driver: Arc<Driver>,
    id: DeviceId,
    /// CUDA's primary context.
    #[cfg(feature = "cuda")]
    primary: Handle,
    under_way: AtomicU64,
}

// SAFETY: drivers let any thread make a context current.
unsafe impl Send for Context {}
// SAFETY: as above; nothing in it changes but a count.
unsafe impl Sync for Context {}

impl Context {
    pub(super) fn new(driver: &Arc<Driver>, ordinal: u32) -> Result<Self> {
        let id = DeviceId { vendor: driver.vendor, ordinal };
        let count = driver.count()?;
        if ordinal >= count {
            return Err(Error::new(ErrorKind::Invalid, format!("{id}, expected one of {count} devices")));
        }
        #[cfg(feature = "cuda")]
        let primary = Self::primary(driver, id)?;
        Ok(Self {
            driver: Arc::clone(driver),
            id,
            #[cfg(feature = "cuda")]
            primary,
            under_way: AtomicU64::new(0),
        })
    }

    #[cfg(feature = "cuda")]
    fn primary(driver: &Driver, id: DeviceId) -> Result<Handle> {
        let mut context = ptr::null_mut();
        match driver.calls.current {
            Current::Stack { device, retain, .. } => {
                let mut number = 0;
                // SAFETY: the driver writes a number.
                let code = unsafe { device(&raw mut number, id.ordinal as c_int) };
                driver.calls.check(code, || format!("finding {id}"))?;
                // SAFETY: the driver writes a handle, which is given back when this drops.
                let code = unsafe { retain(&raw mut context, number) };
                driver.calls.check(code, || format!("opening {id}"))?;
            }
            #[cfg(feature = "rocm")]
            Current::Ordinal { .. } => {}
        }
        Ok(context)
    }

    pub(super) const fn id(&self) -> DeviceId {
        self.id
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.driver.calls
    }

    pub(super) fn check(&self, code: Code, doing: impl FnOnce() -> String) -> Result<()> {
        self.calls().check(code, || format!("{}: {}", self.id, doing()))
    }

    pub(super) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Makes it the device that this thread speaks to, until what it gives drops.
    pub(super) fn enter(&self) -> Result<Entered<'_>> {
        match self.calls().current {
            #[cfg(feature = "cuda")]
            Current::Stack { push, .. } => {
                // SAFETY: the context is retained.
                self.check(unsafe { push(self.primary) }, || "entering".to_owned())?;
                Ok(Entered { context: self, before: 0 })
            }
            #[cfg(feature = "rocm")]
            Current::Ordinal { get, set } => {
                let mut before = 0;
                // SAFETY: the driver writes a number.
                self.check(unsafe { get(&raw mut before) }, || "entering".to_owned())?;
                // SAFETY: there is a device of this number, as was checked when this was made.
                self.check(unsafe { set(self.id.ordinal as c_int) }, || "entering".to_owned())?;
                Ok(Entered { context: self, before })
            }
        }
    }

    /// Counts a ticket, if there is room for one.
    pub(super) fn permit(self: &Arc<Self>) -> Result<Permit> {
        // A count by itself: nothing is read by means of it.
        let room = |count: u64| (count < MAX_UNDER_WAY).then_some(count + 1);
        if self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            let message = format!("{}: {MAX_UNDER_WAY} tickets are under way, expected fewer", self.id);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        Ok(Permit(Arc::clone(self)))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        match self.calls().current {
            #[cfg(feature = "cuda")]
            Current::Stack { device, release, .. } => {
                let mut number = 0;
                // SAFETY: the driver writes a number.
                if unsafe { device(&raw mut number, self.id.ordinal as c_int) } == 0 {
                    // SAFETY: it was retained once, when this was made.
                    _ = unsafe { release(number) };
                }
            }
            #[cfg(feature = "rocm")]
            Current::Ordinal { .. } => {}
        }
    }
}

/// This thread speaks to a device, and to the one before when this drops.
#[must_use = "dropping it leaves the device"]
pub(super) struct Entered<'a> {
    context: &'a Context,
    #[cfg_attr(not(feature = "rocm"), expect(dead_code, reason = "CUDA keeps it on its stack"))]
    before: c_int,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        match self.context.calls().current {
            #[cfg(feature = "cuda")]
            Current::Stack { pop, .. } => {
                let mut popped = ptr::null_mut();
                // SAFETY: it was pushed by this thread, and whoever pushed since popped.
                _ = unsafe { pop(&raw mut popped) };
            }
            #[cfg(feature = "rocm")]
            // SAFETY: it was the device of this thread before.
            Current::Ordinal { set, .. } => _ = unsafe { set(self.before) },
        }
    }
}

/// A ticket is under way until this drops.
#[derive(Debug)]
pub(super) struct Permit(Arc<Context>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
