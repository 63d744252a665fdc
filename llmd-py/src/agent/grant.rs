//! What names blocks of another agent.

use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{PyTypeInfo as _, type_hint_union};

use super::layout::KvLayout;
use crate::buffer::Payload;
use crate::error::raise;
use crate::whole::Whole;

/// What names blocks of another agent and lets whoever has it read them, looked into. `Agent.grant` gives it as bytes, and so it goes
/// from engine to engine; whoever sees them may read the blocks as long as the lease holds.
///
/// Raises `CorruptError` for bytes that are none, and `UnsupportedError` for one of another version.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Grant(llmd_kvxfer::Grant);

/// A grant, or its bytes.
#[derive(Debug)]
pub(super) struct Granted(pub(super) llmd_kvxfer::Grant);

impl<'py> FromPyObject<'_, 'py> for Granted {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr =
        type_hint_union!(Grant::TYPE_HINT, <Payload<'_> as FromPyObject<'_, '_>>::INPUT_TYPE);

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(grant) = object.cast::<Grant>() {
            return Ok(Self(grant.get().0.clone()));
        }
        let bytes: Payload<'_> = object.extract()?;
        bytes.read(object.py(), llmd_kvxfer::Grant::from_bytes).map(Self).map_err(raise)
    }
}

#[pymethods]
impl Grant {
    #[new]
    fn new(grant: Granted) -> Self {
        Self(grant.0)
    }

    /// Some of the blocks, by their places in the list, `stop` excluded: what a decoder has already need not be fetched.
    ///
    /// Raises `InvalidError` when there are not as many.
    fn part(&self, start: Whole, stop: Whole) -> PyResult<Self> {
        let places = start.named("start")?..stop.named("stop")?;
        self.0.part(places).map(Self).map_err(raise)
    }

    /// Which agent granted it.
    #[getter]
    fn agent(&self) -> String {
        self.0.agent().to_string()
    }

    /// Where that agent is found: pairs of a transport's name and a place.
    #[getter]
    fn addresses(&self) -> Vec<(String, String)> {
        self.0.addresses().iter().map(|address| (address.transport.clone(), address.place.clone())).collect()
    }

    /// The number of the pool that the blocks are of.
    #[getter]
    fn pool(&self) -> u32 {
        self.0.pool()
    }

    /// How that pool is laid out.
    #[getter]
    fn layout(&self) -> KvLayout {
        KvLayout(self.0.layout().clone())
    }

    /// Which lease holds the blocks: its slot, and how often that was used.
    #[getter]
    fn lease(&self) -> (u32, u64) {
        let lease = self.0.lease();
        (lease.slot, lease.generation)
    }

    /// For how many seconds it was granted, when it was.
    #[getter]
    fn seconds(&self) -> f64 {
        self.0.ttl().as_secs_f64()
    }

    /// The blocks, in the order in which they were named.
    #[getter]
    fn blocks(&self) -> Vec<u32> {
        self.0.blocks().to_vec()
    }

    fn __len__(&self) -> usize {
        self.0.blocks().len()
    }

    /// True, also of no blocks.
    fn __bool__(&self) -> bool {
        true
    }

    /// All of it, whichever part this is.
    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    /// Shows what is no secret.
    fn __repr__(&self) -> String {
        format!("<Grant of {}>", self.0)
    }
}
