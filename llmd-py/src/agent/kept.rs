//! A lease that is prolonged while it is wanted.

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Has a lease prolonged until `close()`, the end of `with`, or until this is garbage.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Kept(Mutex<Option<llmd_kvxfer::Kept>>);

impl Kept {
    pub(super) fn new(kept: llmd_kvxfer::Kept) -> Self {
        Self(Mutex::new(Some(kept)))
    }
}

#[pymethods]
impl Kept {
    /// The lease is no longer prolonged. Closing again does nothing.
    fn close(&self) {
        drop(self.0.lock().take());
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        _exc_type: Option<Bound<'_, PyType>>,
        _exc_value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) {
        self.close();
    }

    fn __repr__(&self) -> String {
        match &*self.0.lock() {
            Some(kept) => format!("<{kept:?}>"),
            None => "<Kept: closed>".to_owned(),
        }
    }
}
