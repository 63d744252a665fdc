//! llmd for Python: the crates, translated.

mod buffer;
mod clock;
mod error;

use pyo3::prelude::*;

/// The compiled half of `llmd_py`; its names are re-exported there.
#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python calls it so")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init() -> PyResult<()> {
        clock::now();
        Ok(())
    }
}
