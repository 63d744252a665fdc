//! The bytes of a message.

use pyo3::exceptions::PyTypeError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{type_hint_identifier, type_hint_subscript, type_hint_union};

use super::format::Elements;
use super::{HELD_BYTES, buffer_of, class_of, lent};
use crate::error::invalid;

/// The bytes of a message: those of a `bytes` object, where they lie, or a copy of what another buffer lends.
///
/// What decodes them relies on finding the same bytes twice. Nobody ever writes to those of a `bytes` object; to those of
/// other buffers somebody may, even while the GIL is held, and to copy them costs little beside decoding.
#[derive(Debug)]
pub(crate) enum Payload<'py> {
    Bytes(Bound<'py, PyBytes>),
    Own(Vec<u8>),
}

impl Payload<'_> {
    /// Does `work`, which takes time in proportion to the bytes: short work with the GIL held, long work without.
    pub(crate) fn read<R: Send>(self, py: Python<'_>, work: impl FnOnce(&[u8]) -> R + Send) -> R {
        let bytes = match &self {
            Self::Bytes(object) => object.as_bytes(),
            Self::Own(bytes) => bytes,
        };
        if bytes.len() > HELD_BYTES { py.detach(|| work(bytes)) } else { work(bytes) }
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
            return Ok(Self::Bytes(bytes.to_owned()));
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
        let Some(bytes) = lent::<u8>(&buffer) else {
            return Err(invalid("the payload does not lie in one piece, expected a contiguous buffer"));
        };
        Ok(Self::Own(bytes.to_vec()))
    }
}
