//! Errors of the crates as the exceptions of `llmd_py.errors`: one class per kind.

use std::error::Error as _;
use std::fmt::Write as _;

use llmd_core::{Error, ErrorKind};
use llmd_routing::plugin::Refusal;
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

/// The exception that says what `error` says, with what caused it behind a colon. That of a refusal has its HTTP status and
/// the reason in llm-d's words.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn raise(error: Error) -> PyErr {
    if let Some(refusal) = Refusal::of(&error) {
        return refused(exception(error.kind(), error.to_string()), refusal);
    }
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(message, ": {error}");
        cause = error.source();
    }
    exception(error.kind(), message)
}

fn refused(exception: PyErr, refusal: &Refusal) -> PyErr {
    Python::attach(|py| {
        let value = exception.value(py);
        let told = value.setattr("status", refusal.status).and_then(|()| value.setattr("reason", refusal.reason));
        told.err().unwrap_or(exception)
    })
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
