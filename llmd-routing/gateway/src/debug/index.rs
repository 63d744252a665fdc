//! What the index knows, as JSON: the state of each worker's event stream, and the blocks of one.

use std::time::Duration;

use http::{Response, StatusCode};
use llmd_core::index::Resident;
use serde_json::{Value, json};

use crate::answer::{Body, Refusal, json_response};
use crate::events::WorkerStatus;
use crate::model::Snapshot;

/// `{"workers": [{"name", "model", "state", "last_seq", …, "timeline": [{"at": seconds, "state"}]}]}`
pub(super) fn streams(snapshot: &Snapshot) -> Response<Body> {
    let statuses = snapshot.served().flat_map(|served| {
        let events = served.events.iter();
        events.flat_map(|events| events.subscriptions.status()).map(|status| stream(served.name(), &status))
    });
    json_response(StatusCode::OK, &json!({"workers": statuses.collect::<Vec<_>>()}))
}

fn stream(model: &str, status: &WorkerStatus) -> Value {
    let timeline = status.timeline.iter();
    let timeline = timeline.map(|(at, state)| json!({"at": at.as_secs_f64(), "state": state.to_string()}));
    json!({
        "name": status.name,
        "model": model,
        "state": status.state.to_string(),
        "last_seq": status.last_seq,
        "silent": status.silent,
        "announces_hits": status.announces_hits,
        "lag": status.lag.as_ref().map(Duration::as_secs_f64),
        "last_event_at": status.last_event.as_ref().map(Duration::as_secs_f64),
        "gaps": status.gaps,
        "replays": status.replays,
        "restarts": status.restarts,
        "applied_batches": status.applied_batches,
        "dropped_batches": status.dropped_batches,
        "event_errors": status.event_errors,
        "timeline": timeline.collect::<Vec<_>>(),
    })
}

/// `{"state", "seq", "blocks": [{"hash", "group", "medium", "copies"}]}`: what an endpoint holds, as its engine names it.
pub(super) async fn blocks(snapshot: &Snapshot, endpoint: &str) -> Result<Response<Body>, Refusal> {
    let followed = async {
        let worker = snapshot.member(endpoint)?.endpoint.worker();
        for served in snapshot.served() {
            let Some(events) = &served.events else { continue };
            if let Some((seq, residents)) = events.subscriptions.residents(worker).await {
                let status = events.subscriptions.status().into_iter().find(|status| status.worker == worker)?;
                return Some((status.state, seq, residents));
            }
        }
        None
    };
    let Some((state, seq, mut residents)) = followed.await else {
        return Err(Refusal::no_such(format!("no KV events of endpoint {endpoint:?} are followed")));
    };
    residents.sort_unstable();
    let blocks: Vec<_> = residents.iter().map(block).collect();
    Ok(json_response(StatusCode::OK, &json!({"state": state.to_string(), "seq": seq, "blocks": blocks})))
}

fn block(resident: &Resident) -> Value {
    let hash = resident.block.as_int().map_or_else(|| json!(resident.block.to_string()), |name| json!(name));
    json!({
        "hash": hash,
        "group": resident.group.0,
        "medium": resident.medium.as_str(),
        "copies": resident.copies,
    })
}
