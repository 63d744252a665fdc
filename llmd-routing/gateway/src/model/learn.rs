//! Asks an endpoint what it serves and where it publishes, where its entry does not say.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::directory::{Directory, Surroundings};
use super::listing::{self, Listed, tcp};
use super::member::{Learned, Member};
use crate::events::{EngineSaid, KvEventSource};
use crate::scrape::{self, Lookups};
use crate::upstream::Unanswered;

/// Between two questions until the first answer.
const IMPATIENT: Duration = Duration::from_millis(250);

/// Between two questions while an endpoint serves but does not say where it publishes KV events, which are needed.
const PUZZLED: Duration = Duration::from_secs(1);

/// Asks again and again, since adapters come and go and an engine may come back with other sockets; never returns.
/// When an endpoint does not answer, what it said before stays.
pub(super) async fn learn(directory: &Arc<Directory>, around: &Surroundings, member: &Member) {
    let needs_events = around.plan.needs().events;
    let mut warned = false;
    let mut lookups = None;
    loop {
        let mut learned = member.learned.lock().clone();
        match models(around, member).await {
            Ok((models, block_size)) => (learned.models, learned.block_size) = (Some(models), block_size),
            Err(error) => tracing::debug!("endpoint {} does not say what it serves: {error}", member.endpoint),
        }
        if needs_events {
            match event_source(around, member).await {
                Ok(source) => learned.source = source,
                Err(error) => tracing::debug!("endpoint {} does not say where it publishes: {error}", member.endpoint),
            }
            if let Some(said) = witness(around, member, &mut lookups).await {
                directory.engine_said(member, said);
            }
        }
        let pause = match &learned {
            Learned { models: None, .. } => IMPATIENT,
            Learned { source: None, .. } if needs_events => PUZZLED,
            _ => around.settings.polling.models,
        };
        if pause == PUZZLED && !std::mem::replace(&mut warned, true) {
            tracing::warn!("endpoint {} publishes no KV events: nothing is known of its cache", member.endpoint);
        }
        directory.learnt(member, learned);
        around.clock.sleep_until(around.clock.now() + pause).await;
    }
}

/// The models that an endpoint serves, from its entry, else from the engine; and tokens per block, where somebody asks.
async fn models(around: &Surroundings, member: &Member) -> Result<(Vec<Listed>, Option<usize>), String> {
    let Surroundings { plan, upstream, clock, .. } = around;
    let address = member.endpoint.address();
    let models = match &member.entry.models {
        Some(models) => models.iter().map(Listed::new).collect(),
        None => listing::models(&upstream.get(address, "/v1/models").await.map_err(|why| why.to_string())?)?,
    };
    if !plan.asks_block_size() {
        return Ok((models, None));
    }
    let metrics = upstream.get(address, "/metrics").await.map_err(|why| why.to_string())?;
    let block_size = scrape::read(&String::from_utf8_lossy(&metrics), clock.now()).block_size;
    Ok((models, block_size.map(|size| size as usize)))
}

/// What an engine's counters say about its cache since `before`, which becomes what they say now.
async fn witness(around: &Surroundings, member: &Member, before: &mut Option<Lookups>) -> Option<EngineSaid> {
    let metrics = around.upstream.get(member.endpoint.address(), "/metrics").await.ok()?;
    let text = String::from_utf8_lossy(&metrics);
    let engine = scrape::read(&text, around.clock.now());
    let lookups = Lookups::read(&text);
    let since = std::mem::replace(before, lookups);
    let stored = lookups.zip(since).zip(engine.block_size).map(|((now, since), size)| now.stored_since(since, size));
    Some(EngineSaid { stored: stored.unwrap_or(0), gpu_blocks: engine.num_blocks })
}

/// From the entry, else from the engine, else, when the engine does not tell such things, from the ports that the
/// configuration names.
async fn event_source(around: &Surroundings, member: &Member) -> Result<Option<KvEventSource>, String> {
    if let Some(events) = &member.entry.kv_events {
        return Ok(Some(KvEventSource {
            endpoint: events.endpoint.clone(),
            replay_endpoint: events.replay_endpoint.clone(),
            topic: events.topic.clone(),
        }));
    }
    let address = &member.entry.address;
    match around.upstream.get(member.endpoint.address(), "/kv_event_sources").await {
        Ok(body) => listing::event_source(&body, address),
        Err(Unanswered::Status(status)) if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED => {
            Ok(around.plan.event_ports().map(|(port, replay, topic)| KvEventSource {
                endpoint: tcp(address, port),
                replay_endpoint: replay.map(|port| tcp(address, port)),
                topic: topic.to_owned(),
            }))
        }
        Err(unanswered) => Err(unanswered.to_string()),
    }
}
