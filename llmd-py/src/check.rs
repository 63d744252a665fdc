//! What is wrong with a configuration.

use llmd_routing::EndpointPickerConfig;
use llmd_routing::config::{self, Check};
use pyo3::prelude::*;

/// One thing that is wrong with a configuration. As text it is the line that `Scheduler.from_yaml` would say of it.
#[pyclass(frozen, eq, module = "llmd_py")]
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Problem(config::Problem);

#[pymethods]
impl Problem {
    /// The line, counted from 1; None when it has no place in the text.
    #[getter]
    fn line(&self) -> Option<u64> {
        Some(self.0.line).filter(|&line| line > 0)
    }

    /// The column, counted from 1; None when it has no place in the text.
    #[getter]
    fn column(&self) -> Option<u64> {
        Some(self.0.column).filter(|&column| column > 0)
    }

    /// The way there: `plugins[0].parameters.threshold`; empty for the document as a whole.
    #[getter]
    fn path(&self) -> &str {
        &self.0.path
    }

    /// `"invalid"`, or `"unsupported"` for what llm-d has and llmd has not.
    #[getter]
    fn kind(&self) -> String {
        format!("{:?}", self.0.kind).to_lowercase()
    }

    /// What is wrong, and what was expected.
    #[getter]
    fn message(&self) -> &str {
        &self.0.message
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Problem({:?})", self.0.to_string())
    }
}

/// Everything that is wrong with the configuration `text`, in the order of the text: empty when a scheduler can be made of it.
///
/// What is wrong only since something else is, is left out. `index` says whether the scheduler will have an index, and
/// `allow_experimental` is what `Scheduler.from_yaml` will be told. At most 256 problems are told.
#[pyfunction]
#[pyo3(signature = (text, *, index=true, allow_experimental=false))]
pub(crate) fn check_config(text: &str, index: bool, allow_experimental: bool) -> Vec<Problem> {
    let check = Check::default().with_index(index).allow_experimental(allow_experimental);
    EndpointPickerConfig::check(text, check).into_iter().map(Problem).collect()
}
