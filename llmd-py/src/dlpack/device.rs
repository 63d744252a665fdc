//! Accelerators in whose memory regions lie.

use std::path::PathBuf;
use std::sync::Arc;

use llmd_kvxfer::device::{self, DeviceId, Vendor};
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;
use pyo3::{PyTypeInfo as _, type_hint_union};

use crate::error::raise;
use crate::whole::Whole;

/// An accelerator, by its driver, which is loaded when it is wanted: nothing of it is needed before.
///
/// As long as somebody has it (this object, a region on it, a transport that imports by it) it is the same for all of the process
/// who name it, `"cuda:0"` or `"rocm:1"`. A driver that lies where nobody looks for it is named by `library`: open the device so
/// before tensors and transports ask for it, and hold it.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Device(Arc<dyn device::Device>);

/// A device, or its name.
#[derive(Debug)]
pub(super) struct Named(Which);

#[derive(Debug)]
enum Which {
    Open(Arc<dyn device::Device>),
    Named(DeviceId),
}

impl<'py> FromPyObject<'_, 'py> for Named {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = type_hint_union!(Device::TYPE_HINT, PyString::TYPE_HINT);

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(device) = object.cast::<Device>() {
            return Ok(Self(Which::Open(Arc::clone(&device.get().0))));
        }
        let name: PyBackedStr = object.extract()?;
        name.parse().map(Which::Named).map(Self).map_err(raise)
    }
}

impl Named {
    /// The device, opened if it was not.
    pub(super) fn open(self, py: Python<'_>) -> PyResult<Arc<dyn device::Device>> {
        match self.0 {
            Which::Open(device) => Ok(device),
            Which::Named(id) => open(py, id),
        }
    }
}

/// The device of this id.
pub(super) fn open(py: Python<'_>, id: DeviceId) -> PyResult<Arc<dyn device::Device>> {
    py.detach(|| device::open(id)).map_err(raise)
}

/// What engines call it.
pub(super) fn name(id: DeviceId) -> String {
    let vendor = match id.vendor {
        Vendor::Amd => "rocm",
        Vendor::Nvidia => "cuda",
        _ => return id.to_string(),
    };
    format!("{vendor}:{}", id.ordinal)
}

impl Device {
    fn opened(py: Python<'_>, vendor: Vendor, ordinal: Whole, library: Option<PathBuf>) -> PyResult<Self> {
        let id = DeviceId { vendor, ordinal: ordinal.named("ordinal")? };
        let open = || library.map_or_else(|| device::open(id), |library| device::open_from(id, &library));
        py.detach(open).map(Self).map_err(raise)
    }
}

#[pymethods]
impl Device {
    /// NVIDIA's device of this number, among those that the process sees, by the CUDA driver: the one of the system, or `library`.
    ///
    /// Raises `UnsupportedError`, naming what was looked for, where there is no driver, and `InvalidError` for a device that there is
    /// not and for one that is open by another library.
    #[staticmethod]
    #[pyo3(signature = (ordinal, *, library=None))]
    fn cuda(py: Python<'_>, ordinal: Whole, library: Option<PathBuf>) -> PyResult<Self> {
        Self::opened(py, Vendor::Nvidia, ordinal, library)
    }

    /// AMD's device of this number, among those that the process sees, by the HIP runtime: the one of the system, or `library`.
    ///
    /// Raises what `cuda` does.
    #[staticmethod]
    #[pyo3(signature = (ordinal, *, library=None))]
    fn rocm(py: Python<'_>, ordinal: Whole, library: Option<PathBuf>) -> PyResult<Self> {
        Self::opened(py, Vendor::Amd, ordinal, library)
    }

    /// What it is called: `"cuda:0"`.
    #[getter]
    fn name(&self) -> String {
        name(self.0.id())
    }

    fn __repr__(&self) -> String {
        format!("<Device {}>", self.name())
    }
}
