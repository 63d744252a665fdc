//! llmd for Python: the crates, translated.

mod buffer;
mod clock;
mod error;

use pyo3::prelude::*;

/// The compiled half of `llmd_py`; its names are re-exported there.
#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        clock::now();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
