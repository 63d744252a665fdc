//! Whole numbers of a call, refused by the argument's name.

use pyo3::exceptions::PyOverflowError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;

use crate::error::invalid;

/// A whole number, anything that Python takes for an index, before it is known whether it fits.
#[derive(Debug)]
pub(crate) enum Whole {
    Fits(u64),
    /// Below 0.
    Negative(i64),
    /// As it was written, for it is too large, or too far below 0.
    Outside(String),
}

impl Whole {
    /// The number, which must fit into a `T`.
    pub(crate) fn named<T: TryFrom<u64>>(self, name: &str) -> PyResult<T> {
        let bits = 8 * size_of::<T>();
        let outside = |value: &str| invalid(format!("{name} {value}: expected 0 to 2**{bits} - 1"));
        match self {
            Self::Fits(value) => T::try_from(value).map_err(|_| outside(&value.to_string())),
            Self::Negative(value) => Err(outside(&value.to_string())),
            Self::Outside(value) => Err(outside(&value)),
        }
    }

    /// The number, which may be below 0, and must fit into 32 bits.
    pub(crate) fn signed(self, name: &str) -> PyResult<i32> {
        let (fits, value) = match self {
            Self::Fits(value) => (i32::try_from(value).ok(), value.to_string()),
            Self::Negative(value) => (i32::try_from(value).ok(), value.to_string()),
            Self::Outside(value) => (None, value),
        };
        fits.ok_or_else(|| invalid(format!("{name} {value}: expected -2**31 to 2**31 - 1")))
    }
}

impl FromPyObject<'_, '_> for Whole {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = <u64 as FromPyObject<'_, '_>>::INPUT_TYPE;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(value) => Ok(Self::Fits(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => match object.extract() {
                Ok(value) => Ok(Self::Negative(value)),
                Err(_) => Ok(Self::Outside(object.str()?.to_string_lossy().into_owned())),
            },
            Err(error) => Err(error),
        }
    }
}

/// The number, if there is one.
pub(crate) fn named<T: TryFrom<u64>>(value: Option<Whole>, name: &str) -> PyResult<Option<T>> {
    value.map(|value| value.named(name)).transpose()
}
