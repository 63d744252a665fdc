//! Why a request went where it went.

use pyo3::prelude::*;

/// Why a request went where it went: what each profile made of each endpoint. As text it is a table per profile.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Explanation(pub(crate) llmd_routing::Explanation);

#[pymethods]
impl Explanation {
    /// The name of the endpoint that the request goes to.
    #[getter]
    fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The name of the profile that decided.
    #[getter]
    fn profile(&self) -> &str {
        &self.0.profile
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Explanation(endpoint={:?}, profile={:?})", self.0.endpoint, self.0.profile)
    }
}
