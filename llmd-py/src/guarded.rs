//! Something that changes, used by any number of threads in turn, and by none in a child that was forked meanwhile.

use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::occupancy::Occupancy;

/// A value that one thread at a time works on.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    /// What it is called in errors.
    name: &'static str,
    value: Mutex<T>,
    occupancy: Occupancy,
}

impl<T: Send> Guarded<T> {
    pub(crate) fn new(name: &'static str, value: T) -> Self {
        Self { name, value: Mutex::new(value), occupancy: Occupancy::default() }
    }

    /// Works on the value, which must not call Python.
    ///
    /// # Errors
    ///
    /// `UnavailableError` in a forked child when a thread of its parent was at work at the time.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> PyResult<R> {
        let _inside = self.occupancy.enter_or_refuse(self.name)?;
        Ok(work(&mut self.value.lock()))
    }
}
