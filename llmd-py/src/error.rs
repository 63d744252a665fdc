//! Errors of the crates as the exceptions of `llmd_py.errors`: one class per kind.

use std::error::Error as _;
use std::fmt::Write as _;

use llmd_core::{Error, ErrorKind};
use pyo3::PyTypeInfo as _;
use pyo3::prelude::*;

/// The classes, which are written in Python.
mod classes {
    pyo3::import_exception!(llmd_py.errors, CorruptError);
    pyo3::import_exception!(llmd_py.errors, DeniedError);
    pyo3::import_exception!(llmd_py.errors, ExhaustedError);
    pyo3::import_exception!(llmd_py.errors, InternalError);
    pyo3::import_exception!(llmd_py.errors, InvalidError);
    pyo3::import_exception!(llmd_py.errors, StaleError);
    pyo3::import_exception!(llmd_py.errors, UnavailableError);
    pyo3::import_exception!(llmd_py.errors, UnsupportedError);
}

/// Finds every class now, and not when it is first raised.
pub(crate) fn prepare(py: Python<'_>) {
    classes::CorruptError::type_object(py);
    classes::DeniedError::type_object(py);
    classes::ExhaustedError::type_object(py);
    classes::InternalError::type_object(py);
    classes::InvalidError::type_object(py);
    classes::StaleError::type_object(py);
    classes::UnavailableError::type_object(py);
    classes::UnsupportedError::type_object(py);
}

/// The exception that says what `error` says, with what caused it behind a colon.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn raise(error: Error) -> PyErr {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(message, ": {error}");
        cause = error.source();
    }
    exception(error.kind(), message)
}

/// The exception for a call that was wrong.
pub(crate) fn invalid(message: impl Into<String>) -> PyErr {
    exception(ErrorKind::Invalid, message.into())
}

/// The exception of this kind.
pub(crate) fn exception(kind: ErrorKind, message: String) -> PyErr {
    match kind {
        ErrorKind::Corrupt => classes::CorruptError::new_err(message),
        ErrorKind::Denied => classes::DeniedError::new_err(message),
        ErrorKind::Exhausted => classes::ExhaustedError::new_err(message),
        ErrorKind::Invalid => classes::InvalidError::new_err(message),
        ErrorKind::Stale => classes::StaleError::new_err(message),
        ErrorKind::Unavailable => classes::UnavailableError::new_err(message),
        ErrorKind::Unsupported => classes::UnsupportedError::new_err(message),
        // Internal, and a kind that is not known here; the test below finds the latter.
        _ => classes::InternalError::new_err(message),
    }
}

/// Raises the exception for the kind of error of this name: so that a test can see that every kind has a class.
#[pyfunction]
pub(crate) fn _raise(kind: &str, message: String) -> PyResult<()> {
    match ErrorKind::ALL.into_iter().find(|known| format!("{known:?}") == kind) {
        Some(kind) => Err(exception(kind, message)),
        None => Err(invalid(format!("no kind of error is {kind:?}, expected one of {:?}", ErrorKind::ALL))),
    }
}
