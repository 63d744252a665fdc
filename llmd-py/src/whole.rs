//! Whole numbers of a call, refused by the argument's name.

use pyo3::exceptions::PyOverflowError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;

use crate::error::invalid;

/// A whole number, anything that Python takes for an index, before it is known whether it fits.
#[derive(Debug)]
pub(crate) enum Whole {
    Fits(u64),
    /// As it was written, for it is negative or too large.
    Outside(String),
}

impl Whole {
    /// The number, which must fit into a `T`.
    pub(crate) fn named<T: TryFrom<u64>>(self, name: &str) -> PyResult<T> {
        let bits = 8 * size_of::<T>();
        let outside = |value: &str| invalid(format!("{name} {value}: expected 0 to 2**{bits} - 1"));
        match self {
            Self::Fits(value) => T::try_from(value).map_err(|_| outside(&value.to_string())),
            Self::Outside(value) => Err(outside(&value)),
        }
    }
}

impl FromPyObject<'_, '_> for Whole {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = <u64 as FromPyObject<'_, '_>>::INPUT_TYPE;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(value) => Ok(Self::Fits(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Self::Outside(object.str()?.to_string_lossy().into_owned()))
            }
            Err(error) => Err(error),
        }
    }
}

/// The number, if there is one.
pub(crate) fn named<T: TryFrom<u64>>(value: Option<Whole>, name: &str) -> PyResult<Option<T>> {
    value.map(|value| value.named(name)).transpose()
}
