//! Why a request went where it went.

use std::convert::Infallible;

use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTypeInfo as _, type_hint_identifier, type_hint_subscript};

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

    /// The facts of the table as JSON: `endpoint`, `profile`, and of each of `profiles` its `name`, `picker`, `reason`, `scorers`
    /// with their weights, and `endpoints`, ranked ones first. Of each endpoint that is its name, its `fate` (`"ranked"` or
    /// `"dropped"`), `by` whom it was dropped, or its `scores`, `total`, whether it was `picked`, and its `turn` (`"chosen"`,
    /// `"failed"` or `"waiting"`); and of its `prefix`, unless that is null, `hit_tokens`, `state` and counts of blocks.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// What `to_json` says, as dicts and lists.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Facts<'py>> {
        let facts = py.import("json")?.call_method1("loads", (self.0.to_json(),))?;
        Ok(Facts(facts.cast_into()?))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Explanation(endpoint={:?}, profile={:?})", self.0.endpoint, self.0.profile)
    }
}

/// Facts by name, as JSON has them.
struct Facts<'py>(Bound<'py, PyDict>);

impl<'py> IntoPyObject<'py> for Facts<'py> {
    type Target = PyDict;
    type Output = Bound<'py, PyDict>;
    type Error = Infallible;

    const OUTPUT_TYPE: PyStaticExpr =
        type_hint_subscript!(PyDict::TYPE_HINT, PyString::TYPE_HINT, type_hint_identifier!("typing", "Any"));

    fn into_pyobject(self, _: Python<'py>) -> Result<Self::Output, Infallible> {
        Ok(self.0)
    }
}
