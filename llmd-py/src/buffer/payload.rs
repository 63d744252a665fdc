//! The bytes of a message.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{type_hint_identifier, type_hint_subscript, type_hint_union};

use super::format::Elements;
use super::{HELD_BYTES, buffer_of, class_of, held, lent};
use crate::error::invalid;

/// The bytes of a message: those of a `bytes` object, or lent by another buffer.
#[derive(Debug)]
pub(crate) struct Payload<'py>(Source<'py>);

#[derive(Debug)]
enum Source<'py> {
    /// Nobody ever writes to these.
    Bytes(Bound<'py, PyBytes>),
    /// Bytes, contiguous.
    Lent(PyUntypedBuffer),
}

impl<'py> Payload<'py> {
    /// Does `work`, which takes time in proportion to the bytes: short work with the GIL held, long work without.
    pub(crate) fn read<R: Send>(self, py: Python<'py>, work: impl FnOnce(&[u8]) -> R + Send) -> R {
        let long = |bytes: &[u8]| bytes.len() > HELD_BYTES;
        match self.0 {
            Source::Bytes(object) => {
                let bytes = object.as_bytes();
                if long(bytes) { py.detach(|| work(bytes)) } else { work(bytes) }
            }
            Source::Lent(buffer) => {
                let bytes = lent::<u8>(&buffer).unwrap_or_default();
                let answer = if long(bytes) {
                    let bytes = bytes.to_vec();
                    py.detach(|| work(&bytes))
                } else if held(py) {
                    work(bytes)
                } else {
                    work(&bytes.to_vec())
                };
                buffer.release(py);
                answer
            }
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Payload<'py> {
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
        if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            return Ok(Self(Source::Bytes(bytes.to_owned())));
        }
        let Some(buffer) = buffer_of(&object)? else {
            let class = class_of(&object);
            return Err(PyTypeError::new_err(format!("the payload is {class}, expected bytes or a buffer of them")));
        };
        let format = buffer.format();
        if Elements::parse(format, buffer.item_size()) != Some(Elements::Bytes) {
            let format = format.to_string_lossy();
            return Err(invalid(format!("the payload has the format '{format}', expected bytes ('B')")));
        }
        if lent::<u8>(&buffer).is_none() {
            return Err(invalid("the payload does not lie in one piece, expected a contiguous buffer"));
        }
        Ok(Self(Source::Lent(buffer)))
    }
}
