//! What an engine says about itself: which models it serves, and where it publishes KV events.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::events::KvEventSource;

/// A model that an endpoint serves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// The model that this is an adapter of.
    pub(crate) base: Option<String>,
}

impl Listed {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), base: None }
    }
}

/// Reads `GET /v1/models`. An adapter is an entry whose `parent` is another entry of the list.
pub(crate) fn models(body: &[u8]) -> Result<Vec<Listed>, String> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
        #[serde(default)]
        parent: Option<String>,
    }

    let models: Models = serde_json::from_slice(body).map_err(|error| format!("no list of models: {error}"))?;
    let is_listed = |name: &String| models.data.iter().any(|model| model.id == *name && model.parent.is_none());
    let listed = models.data.iter().map(|model| {
        let base = model.parent.clone().filter(|parent| *parent != model.id && is_listed(parent));
        Listed { name: model.id.clone(), base }
    });
    Ok(listed.collect())
}

/// Reads vLLM's `GET /kv_event_sources`: one entry per data-parallel rank. `None` when no rank publishes.
///
/// Only the lowest rank is followed. `*` in an endpoint, and the wildcard addresses, are where the engine binds: its
/// address takes their place.
pub(crate) fn event_source(body: &[u8], address: &str) -> Result<Option<KvEventSource>, String> {
    #[derive(Deserialize)]
    struct Rank {
        #[serde(default = "yes")]
        enable_kv_cache_events: bool,
        endpoint: String,
        #[serde(default)]
        replay_endpoint: Option<String>,
        #[serde(default)]
        topic: String,
    }
    fn yes() -> bool {
        true
    }

    let ranks: BTreeMap<String, Rank> =
        serde_json::from_slice(body).map_err(|error| format!("no list of event sources: {error}"))?;
    let publishing = ranks.into_iter().filter(|(_, rank)| rank.enable_kv_cache_events);
    let lowest = publishing.min_by_key(|(rank, _)| rank.parse::<u32>().unwrap_or(u32::MAX));
    Ok(lowest.map(|(_, rank)| KvEventSource {
        endpoint: reachable(&rank.endpoint, address),
        replay_endpoint: rank.replay_endpoint.map(|endpoint| reachable(&endpoint, address)),
        topic: rank.topic,
    }))
}

/// A bind address as one that can be connected to.
fn reachable(endpoint: &str, address: &str) -> String {
    for wildcard in ["tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"] {
        if let Some(port) = endpoint.strip_prefix(wildcard) {
            return tcp(address, port);
        }
    }
    endpoint.to_owned()
}

/// A ZMQ address, with brackets around an IPv6 address.
pub(crate) fn tcp(address: &str, port: impl std::fmt::Display) -> String {
    if address.contains(':') && !address.starts_with('[') {
        return format!("tcp://[{address}]:{port}");
    }
    format!("tcp://{address}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_with_a_parent_is_an_adapter() {
        let body = br#"{"object":"list","data":[
            {"id":"tiny","object":"model","root":"/models/tiny","parent":null,"max_model_len":640},
            {"id":"lora-a","object":"model","root":"/models/lora1","parent":"tiny"},
            {"id":"odd","parent":"nobody"}
        ]}"#;
        let listed = models(body).unwrap();

        let names: Vec<_> = listed.iter().map(|model| (model.name.as_str(), model.base.as_deref())).collect();
        assert_eq!(names, [("tiny", None), ("lora-a", Some("tiny")), ("odd", None)]);
    }

    #[test]
    fn what_is_no_list_says_so() {
        assert!(models(b"<html>").unwrap_err().starts_with("no list of models: "));
        assert!(event_source(b"[]", "h").unwrap_err().starts_with("no list of event sources: "));
    }

    #[test]
    fn the_address_takes_the_place_of_where_the_engine_binds() {
        let body = br#"{"0": {"enable_kv_cache_events": true, "publisher": "zmq", "endpoint": "tcp://*:5557",
            "replay_endpoint": "tcp://0.0.0.0:5558", "buffer_steps": 10000, "topic": "kv@a"}}"#;
        let source = event_source(body, "10.0.0.7").unwrap().unwrap();

        assert_eq!(source.endpoint, "tcp://10.0.0.7:5557");
        assert_eq!(source.replay_endpoint.as_deref(), Some("tcp://10.0.0.7:5558"));
        assert_eq!(source.topic, "kv@a");
    }

    #[test]
    fn the_lowest_rank_that_publishes_is_followed() {
        let body = br#"{"10": {"endpoint": "ipc:///c"}, "2": {"endpoint": "ipc:///b"},
            "0": {"endpoint": "ipc:///a", "enable_kv_cache_events": false}}"#;
        assert_eq!(event_source(body, "h").unwrap().unwrap().endpoint, "ipc:///b");
        assert_eq!(event_source(b"{}", "h").unwrap(), None);
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(tcp("fd00::1", 5557), "tcp://[fd00::1]:5557");
    }
}
