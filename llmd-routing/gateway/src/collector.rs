//! Metrics of what can be looked up: endpoints, pools and event streams, as they are when somebody asks.

use std::fmt;
use std::sync::Arc;

use llmd_core::index::{IndexStats, WorkerState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::events::WorkerStatus;
use crate::model::{Directory, Member, Snapshot};
use crate::telemetry::MAX_LABELS;

/// Tells the state of a directory. Of very many endpoints, so many as [`MAX_LABELS`] have series.
#[derive(Debug)]
pub(crate) struct StateCollector(Arc<Directory>);

type Row = (Vec<(&'static str, String)>, u64);

type Tell = fn(&WorkerStatus) -> u64;

impl StateCollector {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self(directory)
    }
}

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot();
        pools(&mut encoder, &snapshot)?;
        endpoints(&mut encoder, &snapshot)?;
        streams(&mut encoder, &snapshot)?;
        indexes(&mut encoder, &snapshot)?;
        plugins(&mut encoder, &snapshot)
    }
}

fn pools(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let ready = snapshot.models().map(|(name, model)| (label("name", name), model.healthy() as u64));
    gauges(encoder, "ready_endpoints", "Endpoints of a model that are not left alone", ready)
}

fn endpoints(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let each = |tell: fn(&Member) -> u64| {
        snapshot.members().map(move |member| (label("endpoint_name", member.name()), tell(member)))
    };
    let requests = each(|member| member.endpoint.in_flight().requests());
    gauges(encoder, "inflight_requests", "Requests sent to an endpoint that have not ended", requests)?;
    let tokens = each(|member| member.endpoint.in_flight().tokens());
    gauges(
        encoder,
        "inflight_tokens",
        "Tokens sent to an endpoint, cached ones not counted, not yet computed",
        tokens,
    )?;
    let ejected = each(|member| u64::from(member.is_ejected()));
    gauges(encoder, "endpoint_ejected", "Whether an endpoint is left alone for failing", ejected)
}

fn streams(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let statuses = snapshot.served().filter_map(|served| served.events.as_ref());
    let statuses: Vec<_> = statuses.flat_map(|events| events.subscriptions.status()).collect();
    let states = [WorkerState::Approximate, WorkerState::Exact, WorkerState::Recovering];
    let rows = statuses.iter().flat_map(|status| {
        states.map(|state| {
            let mut labels = label("endpoint_name", &status.name);
            labels.push(("state", state.to_string()));
            (labels, u64::from(status.state == state))
        })
    });
    gauges(encoder, "index_state", "How far the index can be trusted about an endpoint: 1 for its state", rows)?;
    let lags =
        statuses.iter().filter_map(|status| Some((label("endpoint_name", &status.name), status.lag?.as_secs_f64())));
    let help = "How old the last batch of KV events was when it entered the index";
    let mut family = encoder.encode_descriptor("kv_event_lag_seconds", help, None, MetricType::Gauge)?;
    for (labels, lag) in lags.take(MAX_LABELS) {
        ConstGauge::new(lag).encode(family.encode_family(&labels)?)?;
    }
    let rows = statuses.iter().map(|status| (label("endpoint_name", &status.name), u64::from(status.silent)));
    gauges(encoder, "kv_event_silent", "Whether an engine stores blocks while its stream says nothing of it", rows)?;
    let rows = statuses.iter().map(|status| (label("endpoint_name", &status.name), u64::from(status.announces_hits)));
    gauges(
        encoder,
        "kv_event_announces_hits",
        "Whether an engine announces hits as if it had stored the blocks",
        rows,
    )?;
    let tables: [(&str, &str, Tell); 6] = [
        ("kv_event_batches", "Batches of KV events that entered the index", |status| status.applied_batches),
        ("kv_event_gaps", "How often batches of KV events were found missing", |status| status.gaps),
        ("kv_event_replays", "How often an engine was asked for replay", |status| status.replays),
        ("kv_event_restarts", "How often an engine was found to have been started anew", |status| status.restarts),
        ("kv_event_batches_dropped", "Batches of KV events that were dropped", |status| status.dropped_batches),
        ("kv_event_errors", "KV events that could not be read", |status| status.event_errors),
    ];
    for (name, help, tell) in tables {
        let rows = statuses.iter().map(|status| (label("endpoint_name", &status.name), tell(status)));
        counters(encoder, name, help, rows)?;
    }
    Ok(())
}

fn indexes(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let stats = |tell: fn(&IndexStats) -> u64| {
        snapshot.served().filter_map(move |served| {
            let stats = served.events.as_ref()?.index.stats();
            Some((label("model_name", served.name()), tell(&stats)))
        })
    };
    let blocks = stats(|stats| stats.blocks as u64);
    gauges(encoder, "index_blocks", "Different blocks that the index knows somebody to hold", blocks)?;
    let bytes = stats(|stats| stats.bytes as u64);
    gauges(encoder, "index_bytes", "Bytes that the tables of the index take", bytes)?;
    let orphans = stats(|stats| stats.held.orphans as u64);
    gauges(encoder, "index_orphans", "Blocks that wait for their parent", orphans)?;
    let dropped = stats(|stats| stats.dropped);
    counters(encoder, "index_dropped", "Blocks that the index dropped because a limit was reached", dropped)?;
    let unplaceable = stats(|stats| stats.unplaceable);
    counters(
        encoder,
        "index_unplaceable",
        "Blocks of another size, or of a group that is not full attention",
        unplaceable,
    )?;
    let unknown = stats(|stats| stats.unknown_removals);
    counters(encoder, "index_unknown_removals", "Removals of blocks that were not held", unknown)
}

fn plugins(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let rows: Vec<Row> = snapshot
        .served()
        .flat_map(|served| {
            served.scheduler.dropped().into_iter().map(|(plugin, dropped)| {
                (vec![("model_name", served.name().to_owned()), ("plugin_name", plugin)], dropped)
            })
        })
        .collect();
    counters(encoder, "plugin_dropped", "What a plugin dropped because a limit of its own was reached", rows)
}

fn label(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = Row>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows.into_iter().take(MAX_LABELS * 3) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = Row>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows.into_iter().take(MAX_LABELS * 3) {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
