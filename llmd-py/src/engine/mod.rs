//! What an engine's processes run: a worker for each shard, and a scheduler that commands them.

mod scheduler;
mod worker;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::session::RequestId;
use pyo3::prelude::*;

pub(crate) use self::scheduler::KvScheduler;
pub(crate) use self::worker::KvWorker;
use crate::error::raise;

/// The request of this name.
fn request(name: &str) -> PyResult<RequestId> {
    RequestId::new(name).map_err(raise)
}

/// What calls say of one that was closed.
fn closed(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the {what} is closed"))
}

/// That this is the process in which it was made: in a forked child it may be locked for ever.
fn is_ours(process: u32, what: &str) -> Result<()> {
    let here = std::process::id();
    if here == process {
        return Ok(());
    }
    let message = format!("a {what} of process {process}, in its forked child {here}: make one there");
    Err(Error::new(ErrorKind::Unavailable, message))
}
