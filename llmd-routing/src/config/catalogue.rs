//! Every plugin that is there, by the name of its type.

use super::absent;
use super::blueprint::Blueprint;
use super::fault::{Fault, Result};
use super::nearest;
use super::node::Node;
use super::plugins;

/// Whether llm-d, and llmd with it, takes a plugin without being told to allow experiments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stability {
    Experimental,
    Stable,
}

/// A type of plugin.
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) stability: Stability,
    read: fn(&Node) -> Result<Blueprint>,
}

const fn stable(name: &'static str, read: fn(&Node) -> Result<Blueprint>) -> Type {
    Type { name, stability: Stability::Stable, read }
}

const fn experimental(name: &'static str, read: fn(&Node) -> Result<Blueprint>) -> Type {
    Type { name, stability: Stability::Experimental, read }
}

static TYPES: &[Type] = &[
    stable("active-request-scorer", plugins::active_request_scorer),
    stable("approx-prefix-cache-producer", plugins::approx_prefix_cache_producer),
    stable("core-metrics-extractor", plugins::nothing),
    stable("decode-filter", plugins::decode_filter),
    stable("encode-filter", plugins::encode_filter),
    stable("endpoint-notification-source", plugins::nothing),
    stable("fcfs-ordering-policy", plugins::nothing),
    stable("global-strict-fairness-policy", plugins::nothing),
    stable("inflight-load-producer", plugins::inflight_load_producer),
    stable("kv-cache-utilization-scorer", plugins::kv_cache_utilization_scorer),
    stable("label-selector-filter", plugins::label_selector_filter),
    stable("max-score-picker", plugins::max_score_picker),
    stable("metrics-data-source", plugins::metrics_data_source),
    stable("openai-parser", plugins::nothing),
    stable("precise-prefix-cache-producer", plugins::precise_prefix_cache_producer),
    stable("prefill-filter", plugins::prefill_filter),
    stable("prefix-cache-scorer", plugins::prefix_cache_scorer),
    stable("queue-scorer", plugins::queue_scorer),
    stable("random-picker", plugins::random_picker),
    stable("round-robin-picker", plugins::round_robin_picker),
    stable("running-requests-size-scorer", plugins::running_requests_size_scorer),
    experimental("session-affinity-filter", plugins::session_affinity_filter),
    experimental("session-affinity-scorer", plugins::session_affinity_scorer),
    stable("single-profile-handler", plugins::single_profile_handler),
    stable("static-usage-limit-policy", plugins::static_usage_limit_policy),
    stable("token-load-scorer", plugins::token_load_scorer),
    stable("token-producer", plugins::token_producer),
    stable("weighted-random-picker", plugins::weighted_random_picker),
];

/// The type of this name.
pub(super) fn find(name: &str) -> Result<&'static Type> {
    if let Some(known) = TYPES.iter().find(|known| known.name == name) {
        return Ok(known);
    }
    if let Some(instead) = absent::instead_of(name) {
        return Err(Fault::unsupported(format!("plugin type `{name}` is not supported: {instead}")));
    }
    let known: Vec<_> = TYPES.iter().map(|known| known.name).collect();
    Err(Fault::invalid(nearest::unknown("plugin type", name, &known)))
}

impl Type {
    /// Reads a plugin's parameters.
    pub(super) fn read(&self, parameters: &Node) -> Result<Blueprint> {
        (self.read)(parameters)
    }
}
