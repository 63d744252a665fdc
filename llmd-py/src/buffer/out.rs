//! Arrays of the caller's that answers are written to.

use pyo3::buffer::{Element, PyUntypedBuffer};
use pyo3::exceptions::PyTypeError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::{type_hint_identifier, type_hint_subscript, type_hint_union};

use super::format::Elements;
use super::{buffer_of, class_of};
use crate::error::invalid;

/// A writable buffer of one dimension, whatever its elements are.
#[derive(Debug)]
pub(crate) struct Out(PyUntypedBuffer);

impl<'py> FromPyObject<'_, 'py> for Out {
    type Error = PyErr;

    /// Every buffer, and NumPy's arrays, which say that they are one only from Python 3.12 on.
    const INPUT_TYPE: PyStaticExpr = type_hint_union!(
        type_hint_identifier!("typing_extensions", "Buffer"),
        type_hint_subscript!(
            type_hint_identifier!("_typeshed", "SupportsLenAndGetItem"),
            type_hint_identifier!("builtins", "int")
        )
    );

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let Some(buffer) = buffer_of(&object)? else {
            let class = class_of(&object);
            return Err(PyTypeError::new_err(format!("out is {class}, expected a writable buffer")));
        };
        if buffer.readonly() {
            return Err(invalid("out cannot be written to, expected a writable buffer"));
        }
        if buffer.dimensions() != 1 {
            return Err(invalid(format!("out has {} dimensions, expected one", buffer.dimensions())));
        }
        Ok(Self(buffer))
    }
}

impl Out {
    /// Writes `numbers`, which must be as many as there is room for.
    pub(crate) fn write_u32(self, py: Python<'_>, numbers: &[u32]) -> PyResult<()> {
        self.write(py, numbers, Elements::Unsigned(4), "unsigned integers of 32 bits")
    }

    /// Writes `bytes`, which must be as many as there is room for.
    pub(crate) fn write_bytes(self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        self.write(py, bytes, Elements::Bytes, "bytes")
    }

    fn write<T: Element>(self, py: Python<'_>, items: &[T], elements: Elements, named: &str) -> PyResult<()> {
        let buffer = self.0;
        let (format, room) = (buffer.format(), buffer.item_count());
        if Elements::parse(format, buffer.item_size()) != Some(elements) {
            let format = format.to_string_lossy();
            return Err(invalid(format!("out has the format '{format}', expected {named}")));
        }
        if room != items.len() {
            return Err(invalid(format!("out has room for {room}, expected {}", items.len())));
        }
        let typed = buffer.as_typed::<T>().map_err(|_| invalid(format!("out is not aligned, expected {named}")))?;
        typed.copy_from_slice(py, items)?;
        buffer.release(py);
        Ok(())
    }
}
