//! Reads an endpoint's metrics again and again, where a plugin needs them.

mod engine;
mod lookups;
mod text;

use std::sync::Arc;

pub(crate) use engine::read;
use llmd_routing::{Endpoint, EngineMetrics};
pub(crate) use lookups::Lookups;

use crate::clock::Clock;
use crate::settings::Polling;
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;

/// Reads the metrics of one endpoint; never returns. When they have been out of reach for so long that the last ones
/// are stale, the endpoint is told that nothing is known.
pub(crate) async fn scrape(
    endpoint: Arc<Endpoint>,
    upstream: Upstream,
    polling: Polling,
    clock: Clock,
    telemetry: Arc<Telemetry>,
) {
    let mut next = clock.now();
    loop {
        let read = upstream.get(endpoint.address(), "/metrics").await.map_err(|unanswered| unanswered.to_string());
        let read = read.and_then(|body| String::from_utf8(body.into()).map_err(|error| error.to_string()));
        let now = clock.now();
        match read {
            Ok(text) => endpoint.set_metrics(engine::read(&text, now)),
            Err(error) => {
                telemetry.scrape_failed(endpoint.name());
                tracing::debug!(endpoint = endpoint.name(), "metrics cannot be read: {error}");
                let last = endpoint.metrics().map(|metrics| metrics.updated);
                if last.is_some_and(|updated| updated + polling.metrics_stale <= now) {
                    endpoint.set_metrics(EngineMetrics::default());
                }
            }
        }
        next = (next + polling.metrics).max(clock.now());
        clock.sleep_until(next).await;
    }
}
