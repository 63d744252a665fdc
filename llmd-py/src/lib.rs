//! llmd for Python: the crates, translated.

mod buffer;
mod chance;
mod clock;
mod decision;
mod endpoint;
mod error;
mod explanation;
mod occupancy;
mod pool;
mod request;
mod scheduler;
mod whole;

use pyo3::prelude::*;

/// The compiled half of `llmd_py`; its names are re-exported there.
#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use crate::decision::Decision;
    #[pymodule_export]
    use crate::endpoint::Endpoint;
    #[pymodule_export]
    use crate::explanation::Explanation;
    #[pymodule_export]
    use crate::pool::Pool;
    #[pymodule_export]
    use crate::request::Request;
    #[pymodule_export]
    use crate::scheduler::{Needs, Scheduler};
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python calls it so")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init() -> PyResult<()> {
        clock::now();
        Ok(())
    }
}
