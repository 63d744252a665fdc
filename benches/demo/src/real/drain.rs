//! Waiting until the index knows everything that an engine has said.

use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::engine::Engine;
use crate::http::Http;
use crate::index::{EXACT, IndexReport};

/// How long the index may take to hear of everything, lost batches included.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at the index.
const POLL: Duration = Duration::from_millis(5);

/// Waits until the index of `gateway` knows `engine`, which has nothing to do, exactly, and up to its last batch.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it does not within a minute, with what it knew last.
pub(super) async fn drain(http: &Http, gateway: &str, engine: &mut Engine) -> Result<()> {
    let mut seen = "nothing".to_owned();
    let draining = async {
        let last = engine.replay.last().await?;
        loop {
            let report = IndexReport::ask(http, gateway).await?;
            if let Some(worker) = report.worker(&engine.name) {
                if worker.state == EXACT && worker.last_seq == last {
                    return Ok(());
                }
                seen = format!("{} up to {:?} of {last:?}", worker.state, worker.last_seq);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(DEADLINE, draining).await {
        Ok(drained) => drained,
        Err(_) => {
            let message = format!("after {} s the index knows {} {seen}", DEADLINE.as_secs(), engine.name);
            Err(Error::new(ErrorKind::Unavailable, message))
        }
    }
}
