//! A region that an agent knows, with its layout.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::layout::KvLayout;
use crate::buffer::{HELD_BYTES, Payload};
use crate::dlpack::Region;
use crate::error::raise;
use crate::whole::Whole;

/// A region that an agent knows, with its layout: what blocks are granted of and fetched into. `Agent.register` makes it.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvPool(pub(crate) llmd_kvxfer::Pool);

#[pymethods]
impl KvPool {
    /// Its number in its agent, never used twice; a lease that ended names it.
    #[getter]
    fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whose it is: nobody of another tenant is served of it.
    #[getter]
    fn tenant(&self) -> &str {
        self.0.tenant()
    }

    /// How it is laid out.
    #[getter]
    fn layout(&self) -> KvLayout {
        KvLayout(self.0.layout().clone())
    }

    /// The memory.
    #[getter]
    fn region(&self) -> Region {
        Region(self.0.region().clone())
    }

    /// A copy of a block's content, in the order in which it lies.
    ///
    /// Raises `InvalidError` for a block that is not there.
    fn read_block<'py>(&self, py: Python<'py>, block: Whole) -> PyResult<Bound<'py, PyBytes>> {
        let block = block.named("block")?;
        let is_long = self.0.layout().block_bytes() > HELD_BYTES as u64;
        let read = || self.0.read_block(block);
        let content = if is_long { py.detach(read) } else { read() };
        content.map(|content| PyBytes::new(py, &content)).map_err(raise)
    }

    /// Copies a block's content into the pool, in the order in which it lies there.
    ///
    /// Raises `InvalidError` for a block that is not there and for content of another length.
    fn write_block(&self, py: Python<'_>, block: Whole, content: Payload<'_>) -> PyResult<()> {
        let block = block.named("block")?;
        content.read(py, |content| self.0.write_block(block, content)).map_err(raise)
    }

    fn __repr__(&self) -> String {
        format!("<KvPool {} of {} bytes, {}>", self.0.id(), self.0.region().len(), self.0.layout().shape())
    }
}
