//! What only a simulated engine offers: its true cache, and faults on request.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::answer::{AnswerBody, json_answer};
use super::driver::Command;
use super::publish::Faults;
use super::refusal::Refusal;
use super::server::Server;

/// The longest pause.
const MAX_PAUSE_S: f64 = 3_600.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsBody {
    /// The share of event batches that subscribers never see.
    drop_events: f64,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseBody {
    /// Seconds on the wall clock.
    seconds: f64,
}

/// `GET /debug/cache`: every block that can be found, as of the batches before `next_seq` and the pending events.
pub(super) async fn cache(server: &Server) -> Result<Response<AnswerBody>, Refusal> {
    let (asked, view) = oneshot::channel();
    server.command(Command::Cache(asked))?;
    let view = view.await.map_err(|_| Server::gone())?;
    Ok(json_answer(StatusCode::OK, &view))
}

/// `POST /debug/faults` `{"drop_events": 0.05, "seed": 7}`: from now on. Answers how many batches were dropped until now.
pub(super) fn faults(server: &Server, body: &[u8]) -> Result<Response<AnswerBody>, Refusal> {
    let body: FaultsBody = serde_json::from_slice(body).map_err(|error| Refusal::bad("body", error.to_string()))?;
    if !(0.0..=1.0).contains(&body.drop_events) {
        let message = format!("drop_events is {}, expected a share from 0 to 1", body.drop_events);
        return Err(Refusal::bad("drop_events", message));
    }
    let before = std::mem::replace(&mut *server.faults.lock(), Faults::new(body.drop_events, body.seed));
    Ok(json_answer(StatusCode::OK, &json!({ "dropped": before.dropped() })))
}

/// `POST /debug/pause` `{"seconds": 2}`: no step begins for so long. Everything else is answered.
pub(super) fn pause(server: &Server, body: &[u8]) -> Result<Response<AnswerBody>, Refusal> {
    let body: PauseBody = serde_json::from_slice(body).map_err(|error| Refusal::bad("body", error.to_string()))?;
    if !(0.0..=MAX_PAUSE_S).contains(&body.seconds) {
        let message = format!("seconds is {}, expected 0 to {MAX_PAUSE_S}", body.seconds);
        return Err(Refusal::bad("seconds", message));
    }
    server.command(Command::Pause(Duration::from_secs_f64(body.seconds)))?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}
