//! Every plugin by the name of its type: those that are there, and those of llm-d that are not.

use std::fmt;
use std::sync::Arc;

use super::fault::{Fault, Result};
use super::kv_events::Precise;
use super::nearest;
use super::node::Node;
use super::plugins;
use super::tokens::TokenProducer;
use crate::plugin::{Filter, Picker, ProfileHandler, Scorer};
use crate::producer::{ApproxSettings, InFlightLoad};

/// How to make a plugin, its parameters read: each scheduler makes its own.
#[derive(Clone)]
pub(super) enum Blueprint {
    Approx(ApproxSettings),
    Filter(Maker<dyn Filter>),
    Handler(Maker<dyn ProfileHandler>),
    InFlight(InFlightLoad),
    /// It is taken, and says nothing that is not so anyway.
    Nothing,
    Picker(Maker<dyn Picker>),
    Precise(Box<Precise>),
    Scorer(Maker<dyn Scorer>),
    Tokens(TokenProducer),
}

pub(super) type Maker<T> = Arc<dyn Fn() -> Arc<T> + Send + Sync>;

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter(_) => "Filter",
            Self::Handler(_) => "Handler",
            Self::Approx(_) | Self::InFlight(_) | Self::Precise(_) | Self::Tokens(_) => "Producer",
            Self::Nothing => "Nothing",
            Self::Picker(_) => "Picker",
            Self::Scorer(_) => "Scorer",
        })
    }
}

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

/// What llm-d has and llmd has not, and what to do meanwhile.
static ABSENT: &[(&str, &str)] = &[
    ("agent-identity", "send the session in x-session-id"),
    ("always-disagg-multimodal-decider", AGGREGATED),
    ("always-disagg-pd-decider", AGGREGATED),
    ("anthropic-parser", "use the OpenAI API with openai-parser"),
    ("burst-prefix-cache-producer", "use approx-prefix-cache-producer; bursts spread by the reservation at pick"),
    ("by-label", "it is deprecated; use label-selector-filter"),
    ("by-label-selector", "it is deprecated; use label-selector-filter"),
    ("concurrency-detector", FLOW),
    ("context-length-aware", "use label-selector-filter with a profile of its own"),
    ("data-parallel-profile-handler", "it is deprecated; list each rank as an endpoint and use single-profile-handler"),
    ("dcgm-data-source", METRICS),
    ("dcgm-extractor", METRICS),
    ("destination-endpoint-served-verifier", "it is for conformance tests only; leave it out"),
    ("disagg-headers-handler", AGGREGATED),
    ("disagg-profile-handler", AGGREGATED),
    ("disaggregatedset-rollout-screener", "use label-selector-filter on the revision label"),
    ("edf-ordering-policy", FLOW),
    ("endpoint-attribute-filter", "use label-selector-filter"),
    ("endpoint-attribute-scorer", "use queue-scorer or kv-cache-utilization-scorer"),
    ("file-discovery", "give the gateway an endpoints file"),
    ("header-based-testing-filter", "it is for conformance tests only; leave it out"),
    ("header-label-affinity-scorer", "use label-selector-filter"),
    ("header-profile-handler", "use single-profile-handler"),
    ("k8s-notification-source", "give the gateway an endpoints file"),
    ("latency-scorer", "use queue-scorer and token-load-scorer"),
    ("latency-slo-admitter", FLOW),
    ("load-aware-scorer", "use queue-scorer"),
    ("lora-affinity-scorer", "use prefix-cache-scorer, which keeps adapters apart"),
    ("mm-embeddings-cache-producer", "leave it out; prefixes with images are matched by prefix-cache-scorer"),
    ("mm-embeddings-cache-scorer", "leave it out; prefixes with images are matched by prefix-cache-scorer"),
    ("models-data-extractor", "leave it out; the gateway asks each endpoint for its models"),
    ("models-data-source", "leave it out; the gateway asks each endpoint for its models"),
    ("multicluster-approx-prefix-cache-producer", CLUSTER),
    ("multicluster-file-discovery", CLUSTER),
    ("multicluster-kv-cache-utilization-scorer", CLUSTER),
    ("multicluster-metrics-data-source", CLUSTER),
    ("multicluster-metrics-extractor", CLUSTER),
    ("multicluster-prefix-cache-scorer", CLUSTER),
    ("multicluster-queue-scorer", CLUSTER),
    ("multicluster-session-affinity-filter", CLUSTER),
    ("no-hit-lru-scorer", "use active-request-scorer to spread prompts that are cached nowhere"),
    ("p2p-source-producer", AGGREGATED),
    ("passthrough-parser", "use openai-parser"),
    ("pd-profile-handler", AGGREGATED),
    ("precise-prefix-cache-scorer", "it is deprecated; use precise-prefix-cache-producer with prefix-cache-scorer"),
    ("predicted-latency-producer", "use queue-scorer and token-load-scorer"),
    ("prefill-header-handler", AGGREGATED),
    ("prefix-based-pd-decider", AGGREGATED),
    ("prefix-cache-affinity-filter", "use prefix-cache-scorer with a high weight"),
    ("priority-holdback-policy", FLOW),
    ("priority-then-time-eviction-order-policy", FLOW),
    ("probabilistic-admitter", FLOW),
    ("program-aware-fairness", FLOW),
    ("request-attribute-reporter", "leave it out"),
    ("round-robin-fairness-policy", FLOW),
    ("session-id-producer", "use session-affinity-scorer with strategy session_id"),
    ("sglanghttp-parser", "use the OpenAI API with openai-parser"),
    ("sheddable-eviction-filter", FLOW),
    ("slo-deadline-ordering-policy", FLOW),
    ("slo-headroom-tier-filter", "use queue-scorer and token-load-scorer"),
    ("soft-reflective-ceiling-policy", FLOW),
    ("tokenizer", "it is deprecated; use token-producer"),
    ("topology-affinity-filter", "use label-selector-filter"),
    ("topology-affinity-scorer", "use label-selector-filter"),
    ("topology-extractor", "use label-selector-filter"),
    ("utilization-detector", FLOW),
    ("utilization-filter", "use queue-scorer and kv-cache-utilization-scorer"),
    ("vertexai-parser", "use the OpenAI API with openai-parser"),
    ("vllmgrpc-parser", "use the OpenAI API with openai-parser"),
    ("vllmhttp-parser", "use the OpenAI API with openai-parser"),
];

const AGGREGATED: &str = "endpoints prefill and decode themselves for now; use single-profile-handler";
const CLUSTER: &str = "run one scheduler per cluster";
pub(super) const FLOW: &str = "flow control is not there yet; leave it out, and bound requests at the gateway";
const METRICS: &str = "metrics are read from the engines' own page; leave it out";

/// The type of this name.
pub(super) fn find(name: &str) -> Result<&'static Type> {
    if let Some(known) = TYPES.iter().find(|known| known.name == name) {
        return Ok(known);
    }
    if let Some((_, instead)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
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
