//! Memory that blocks are moved from and to.
#![expect(unsafe_code, reason = "the buffer protocol lends memory by address")]

use std::ffi::c_int;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use llmd_kvxfer::device::Keep;
use llmd_kvxfer::{DlpackForm, HostMemory};
use pyo3::PyTypeInfo as _;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyMemoryView, PyString};

use super::device::{self, Named};
use super::{adopted, capsule};
use crate::buffer::{class_of, pinned};
use crate::error::{exception, invalid, raise};
use crate::whole::{Whole, named};

/// Memory that blocks are moved from and to, registered once for a whole pool.
///
/// It is a buffer and a DLPack tensor of bytes: `numpy.asarray(region)`, `memoryview(region)` and `torch.from_dlpack(region)` are the
/// memory itself. It is given back when nobody has it any more, views of it included.
///
/// It may lie on a device: then nothing reads it by an address but that device, and it is no buffer. Copies there wait for no stream
/// of anybody's: whoever lends blocks has seen to it that they are computed (`torch.cuda.synchronize()`, or an event's), and nobody
/// writes or reads those that are fetched into before the fetch has ended.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Clone, Debug)]
pub(crate) struct Region(pub(crate) llmd_kvxfer::Region);

/// What a region can be made of: one, a buffer, a tensor, a path, a file descriptor.
#[derive(Debug)]
pub(crate) struct Memory(pub(crate) llmd_kvxfer::Region);

impl<'py> FromPyObject<'_, 'py> for Memory {
    type Error = PyErr;

    /// There is no type for all that is a buffer before Python 3.12, and none for tensors.
    const INPUT_TYPE: PyStaticExpr = PyAny::TYPE_HINT;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(region) = object.cast::<Region>() {
            return Ok(Self(region.get().0.clone()));
        }
        if object.is_instance_of::<PyString>() || object.getattr_opt("__fspath__")?.is_some() {
            return Region::of_path(object.extract()?).map(|region| Self(region.0));
        }
        if object.is_instance_of::<PyInt>() {
            return Region::of_fd(object.extract()?).map(|region| Self(region.0));
        }
        of_object(&object).map(Self)
    }
}

/// The memory of a buffer, or of a tensor that is none.
fn of_object(object: &Bound<'_, PyAny>) -> PyResult<llmd_kvxfer::Region> {
    if let Some(region) = pinned(object)? {
        return Ok(region);
    }
    adopted(object)?.ok_or_else(|| {
        let class = class_of(object);
        PyTypeError::new_err(format!("the memory is {class}, expected a writable buffer or a DLPack tensor"))
    })
}

impl Region {
    fn of_path(path: PathBuf) -> PyResult<Self> {
        llmd_kvxfer::Region::adopt_path(path).map(Self).map_err(raise)
    }

    fn of_fd(fd: RawFd) -> PyResult<Self> {
        if fd < 0 {
            return Err(invalid(format!("file descriptor {fd}, expected 0 or more")));
        }
        // SAFETY: the number is only used to have it duplicated, which says so when it is none.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        llmd_kvxfer::Region::adopt_fd(fd).map(Self).map_err(raise)
    }
}

#[pymethods]
impl Region {
    /// `len` bytes of this machine's memory, zero, that peers on it can map to read: on pages of 2 MiB with `huge_pages`, on the NUMA
    /// node of this number with `node`, and each page taken only when it is first touched with `lazy`.
    ///
    /// Raises `ExhaustedError` when there is not as much, and `UnsupportedError` when there are no huge pages or no such node.
    #[staticmethod]
    #[pyo3(signature = (len, *, huge_pages=false, node=None, lazy=false))]
    fn memfd(py: Python<'_>, len: Whole, huge_pages: bool, node: Option<Whole>, lazy: bool) -> PyResult<Self> {
        let mut memory = HostMemory::new(len.named("len")?);
        if huge_pages {
            memory = memory.on_huge_pages();
        }
        if let Some(node) = named(node, "node")? {
            memory = memory.on_node(node);
        }
        if lazy {
            memory = memory.lazily();
        }
        py.detach(|| memory.allocate()).map(Self).map_err(raise)
    }

    /// The memory of `buffer`: of anything that lends a writable buffer in one piece, such as a NumPy array, a `bytearray` or an
    /// `mmap`, or a DLPack tensor, as `from_dlpack` has it. It stays there until nobody has the region. Peers cannot map it.
    ///
    /// Raises `InvalidError` for a buffer that cannot be written to or does not lie in one piece, and what `from_dlpack` does.
    #[staticmethod]
    fn adopt(buffer: &Bound<'_, PyAny>) -> PyResult<Self> {
        of_object(buffer).map(Self)
    }

    /// All of the file at `path`, mapped, for writing where that is allowed.
    ///
    /// Raises `UnavailableError` when it cannot be opened, and `InvalidError` when it is empty or no file.
    #[staticmethod]
    fn adopt_path(path: PathBuf) -> PyResult<Self> {
        Self::of_path(path)
    }

    /// All of the file that `fd` is open for, mapped, for writing if it was opened so: a memfd of another library, for example. The
    /// descriptor stays the caller's.
    ///
    /// Raises `InvalidError` when it is empty or no file, and `OSError` for what is no descriptor.
    #[staticmethod]
    fn adopt_fd(fd: RawFd) -> PyResult<Self> {
        Self::of_fd(fd)
    }

    /// The memory of a tensor of another library, or of its capsule: in this machine's memory, or on a device of CUDA or ROCm, which
    /// is opened by its number. It stays there until nobody has the region.
    ///
    /// The tensor is asked for without a stream to wait for it: what is in it now does not matter, and what `Region` says of streams
    /// holds from then on.
    ///
    /// Raises `InvalidError` for a tensor that is only for reading or does not lie in one piece; `UnsupportedError` for one on another
    /// kind of device, and, naming what was looked for, where there is no driver.
    #[staticmethod]
    fn from_dlpack(tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        let wrong = || PyTypeError::new_err(format!("the tensor is {}, expected a DLPack tensor", class_of(tensor)));
        adopted(tensor)?.map(Self).ok_or_else(wrong)
    }

    /// `len` bytes from `address` on in the memory of a `device`, a `Device` or its name, which somebody else allocated: such as
    /// `tensor.data_ptr()`. They stay there as long as `keep` does, which is kept until nobody has the region.
    ///
    /// Raises `InvalidError` for no bytes, and what the device says when it is opened.
    #[staticmethod]
    #[pyo3(signature = (address, len, device, keep=None))]
    fn from_device_pointer(
        py: Python<'_>,
        address: Whole,
        len: Whole,
        device: Named,
        keep: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (address, len, keep) = (address.named("address")?, len.named("len")?, Arc::new(keep) as Keep);
        let device = device.open(py)?;
        // SAFETY: the caller says that the bytes are the device's and stay as long as what is kept. The device itself refuses others.
        let memory = unsafe { device.adopt(address, len, keep) }.map_err(raise)?;
        py.detach(|| llmd_kvxfer::Region::on_device(device, memory)).map(Self).map_err(raise)
    }

    /// `len` bytes of the memory of a `device`, a `Device` or its name. What is in them is not said.
    ///
    /// Raises `ExhaustedError` when there is no room, and what the device says when it is opened.
    #[staticmethod]
    fn on_device(py: Python<'_>, len: Whole, device: Named) -> PyResult<Self> {
        let (len, device) = (len.named("len")?, device.open(py)?);
        let allocate = || llmd_kvxfer::Region::on_device(Arc::clone(&device), device.allocate(len)?);
        py.detach(allocate).map(Self).map_err(raise)
    }

    /// What the device is called that it lies on, `"cuda:0"`; `None` for this machine's memory.
    #[getter]
    fn device(&self) -> Option<String> {
        self.0.device_id().map(device::name)
    }

    /// Whether blocks may be fetched into it.
    #[getter]
    fn writable(&self) -> bool {
        self.0.is_writable()
    }

    /// Whether peers on this machine can map it.
    #[getter]
    fn shareable(&self) -> bool {
        self.0.is_shareable()
    }

    /// The descriptor that peers map; it lives as long as the region.
    ///
    /// Raises `UnsupportedError` when there is none.
    fn fileno(&self) -> PyResult<RawFd> {
        let none = || {
            exception(
                llmd_core::ErrorKind::Unsupported,
                "memory of no file, expected a region that is shareable".into(),
            )
        };
        self.0.fd().map(|fd| fd.as_raw_fd()).ok_or_else(none)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Lends the memory.
    ///
    /// # Safety
    ///
    /// `view` is what Python wants filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let region = &slf.get().0;
        let len = isize::try_from(region.len()).expect("no memory has more bytes");
        let read_only = c_int::from(!region.is_writable());
        let start = region.address().ok_or_else(|| PyBufferError::new_err("the region is in a device"))?;
        let start = start.as_ptr().cast();
        // SAFETY: the view keeps the object, the object the region, and the region its memory.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, read_only, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    /// A view of the memory.
    #[pyo3(signature = (flags, /))]
    fn __buffer__<'py>(slf: &Bound<'py, Self>, flags: c_int) -> PyResult<Bound<'py, PyMemoryView>> {
        let view = PyMemoryView::from(slf.as_any())?;
        if flags & ffi::PyBUF_WRITABLE != 0 && !slf.get().writable() {
            return Err(PyBufferError::new_err("the region is only for reading"));
        }
        Ok(view)
    }

    /// The memory as a tensor of bytes, in a capsule, for libraries that take DLPack.
    ///
    /// Raises `BufferError` where they want a copy, or another device.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Nothing writes it by itself, and what is fetched has ended.
        drop(stream);
        if copy == Some(true) || dl_device.is_some_and(|device| device != self.0.dlpack_device()) {
            return Err(PyBufferError::new_err("a region is lent where it lies, and not copied"));
        }
        let form = match max_version {
            Some((major, _)) if major >= 1 => DlpackForm::Versioned,
            _ => DlpackForm::Plain,
        };
        // There is no type for capsules before Python 3.13.
        Ok(capsule(py, &self.0, form)?.into_any())
    }

    /// Which device the memory is on, in DLPack's numbers: its kind, 1 for this machine, and which of them.
    fn __dlpack_device__(&self) -> (i32, i32) {
        self.0.dlpack_device()
    }

    fn __repr__(&self) -> String {
        let how = match (self.device(), self.0.is_shareable(), self.0.is_writable()) {
            (Some(device), ..) => return format!("<Region of {} bytes, on {device}>", self.0.len()),
            (None, true, true) => "shareable",
            (None, true, false) => "shareable, only for reading",
            (None, false, _) => "of this process",
        };
        format!("<Region of {} bytes, {how}>", self.0.len())
    }
}
