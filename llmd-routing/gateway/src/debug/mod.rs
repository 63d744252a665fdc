//! `/debug/…`: why a request went where it went, and what the index believes. Only when debugging is on.

mod decisions;
mod index;

use http::{Response, StatusCode};

pub(crate) use decisions::Decisions;

use crate::answer::{Body, Refusal, text_response};
use crate::model::Snapshot;

/// Answers a path below `/debug/`.
pub(crate) async fn tell(
    snapshot: &Snapshot,
    decisions: Option<&Decisions>,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let place = path.strip_prefix("/debug/").unwrap_or(path);
    match place.split_once('/').unwrap_or((place, "")) {
        ("decisions", id) => {
            let told = decisions.and_then(|decisions| decisions.explain(id));
            let told = told.ok_or_else(|| Refusal::no_such(format!("no decision about request {id:?} is remembered")));
            Ok(text_response(StatusCode::OK, told?))
        }
        ("index", "") => Ok(index::streams(snapshot)),
        ("index", endpoint) => index::blocks(snapshot, endpoint).await,
        ("scheduler", "") => {
            let described =
                snapshot.served().map(|served| format!("model {}\n{}\n", served.name(), served.scheduler.describe()));
            Ok(text_response(StatusCode::OK, described.collect::<String>()))
        }
        _ => Err(Refusal::no_path(path)),
    }
}
