//! The gateway as a program within the interpreter.

use std::ffi::OsString;

use llmd_gateway::program;
use pyo3::prelude::*;

/// Runs the program `llmd-gateway` until it is told to stop, and returns its exit code. `argv` begins with the program's
/// name.
///
/// What `llmd_py.gateway` calls. Never needs the GIL while it runs.
#[pyfunction]
pub(crate) fn _run_gateway(py: Python<'_>, argv: Vec<OsString>) -> u8 {
    py.detach(|| program::run(argv))
}
