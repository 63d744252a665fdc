//! What the processes of an engine run to hand requests over.

mod scheduler;
mod worker;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::session::RequestId;

pub(crate) use self::scheduler::KvScheduler;
pub(crate) use self::worker::KvWorker;

/// That something is not used in a forked child, which has none of its threads.
fn is_ours(process: u32, what: &str) -> Result<()> {
    let here = std::process::id();
    if here == process {
        return Ok(());
    }
    let message = format!("{what} of process {process}, in its forked child {here}: make one there");
    Err(Error::new(ErrorKind::Unavailable, message))
}

fn named(request: &str) -> Result<RequestId> {
    RequestId::new(request)
}
