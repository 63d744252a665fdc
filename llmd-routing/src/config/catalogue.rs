//! Every plugin that is there, by the name of its type.

use super::absent;
use super::blueprint::Blueprint;
use super::fault::{Fault, Result};
use super::nearest;
use super::node::Node;
use super::parameters::{Read, Reader};
use super::plugins::{
    admitters, filters, handlers, header_processors, observers, pickers, producers, scorers, screeners, shell,
};

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
    parameters: &'static dyn Read,
}

const fn stable(name: &'static str, parameters: &'static dyn Read) -> Type {
    Type { name, stability: Stability::Stable, parameters }
}

const fn experimental(name: &'static str, parameters: &'static dyn Read) -> Type {
    Type { name, stability: Stability::Experimental, parameters }
}

pub(super) static TYPES: &[Type] = &[
    stable("active-request-scorer", &Reader(scorers::active_request_scorer)),
    experimental("agent-identity", &Reader(header_processors::agent_identity)),
    stable("always-disagg-multimodal-decider", &Reader(handlers::always_disagg_multimodal_decider)),
    stable("always-disagg-pd-decider", &Reader(handlers::always_disagg_pd_decider)),
    stable("anthropic-parser", &Reader(shell::anthropic_parser)),
    stable("approx-prefix-cache-producer", &Reader(producers::approx_prefix_cache_producer)),
    stable("by-label", &Reader(filters::by_label)),
    stable("by-label-selector", &Reader(filters::label_selector_filter)),
    stable("completion-time-scorer", &Reader(scorers::completion_time_scorer)),
    stable("concurrency-detector", &Reader(filters::concurrency_detector)),
    stable("context-length-aware", &Reader(scorers::context_length_aware)),
    stable("core-metrics-extractor", &Reader(shell::nothing)),
    stable("data-parallel-profile-handler", &Reader(handlers::data_parallel_profile_handler)),
    experimental("dcgm-data-source", &Reader(shell::dcgm_data_source)),
    experimental("dcgm-extractor", &Reader(shell::nothing)),
    stable("decode-filter", &Reader(filters::decode_filter)),
    stable("destination-endpoint-served-verifier", &Reader(observers::destination_endpoint_served_verifier)),
    stable("disagg-headers-handler", &Reader(handlers::disagg_headers_handler)),
    stable("disagg-profile-handler", &Reader(handlers::disagg_profile_handler)),
    experimental("disaggregatedset-rollout-screener", &Reader(screeners::disaggregatedset_rollout_screener)),
    stable("encode-filter", &Reader(filters::encode_filter)),
    experimental("endpoint-attribute-filter", &Reader(filters::endpoint_attribute_filter)),
    experimental("endpoint-attribute-scorer", &Reader(scorers::endpoint_attribute_scorer)),
    stable("endpoint-notification-source", &Reader(shell::nothing)),
    stable("fcfs-ordering-policy", &Reader(shell::nothing)),
    stable("file-discovery", &Reader(shell::file_discovery)),
    stable("global-strict-fairness-policy", &Reader(shell::nothing)),
    stable("header-based-testing-filter", &Reader(filters::header_based_testing_filter)),
    experimental("header-label-affinity-scorer", &Reader(scorers::header_label_affinity_scorer)),
    experimental("header-profile-handler", &Reader(handlers::header_profile_handler)),
    stable("inflight-load-producer", &Reader(producers::inflight_load_producer)),
    stable("kv-cache-utilization-scorer", &Reader(scorers::kv_cache_utilization_scorer)),
    stable("label-selector-filter", &Reader(filters::label_selector_filter)),
    stable("latency-scorer", &Reader(scorers::latency_scorer)),
    stable("latency-slo-admitter", &Reader(admitters::latency_slo_admitter)),
    stable("load-aware-scorer", &Reader(scorers::load_aware_scorer)),
    stable("lora-affinity-scorer", &Reader(scorers::lora_affinity_scorer)),
    stable("max-score-picker", &Reader(pickers::max_score_picker)),
    stable("metrics-data-source", &Reader(shell::metrics_data_source)),
    stable("mm-embeddings-cache-producer", &Reader(producers::mm_embeddings_cache_producer)),
    stable("mm-embeddings-cache-scorer", &Reader(scorers::mm_embeddings_cache_scorer)),
    stable("models-data-extractor", &Reader(shell::nothing)),
    stable("models-data-source", &Reader(shell::models_data_source)),
    stable("no-hit-lru-scorer", &Reader(scorers::no_hit_lru_scorer)),
    stable("openai-parser", &Reader(shell::openai_parser)),
    stable("openai-parser", &Reader(shell::nothing)),
    experimental("p2p-source-producer", &Reader(producers::p2p_source_producer)),
    stable("passthrough-parser", &Reader(shell::passthrough_parser)),
    stable("pd-profile-handler", &Reader(handlers::pd_profile_handler)),
    stable("power-of-two-picker", &Reader(pickers::power_of_two_picker)),
    stable("precise-prefix-cache-producer", &Reader(producers::precise_prefix_cache_producer)),
    stable("precise-prefix-cache-scorer", &Reader(scorers::precise_prefix_cache_scorer)),
    stable("prefill-filter", &Reader(filters::prefill_filter)),
    stable("prefill-header-handler", &Reader(handlers::disagg_headers_handler)),
    stable("prefix-based-pd-decider", &Reader(handlers::prefix_based_pd_decider)),
    stable("prefix-cache-affinity-filter", &Reader(filters::prefix_cache_affinity_filter)),
    stable("prefix-cache-scorer", &Reader(scorers::prefix_cache_scorer)),
    stable("probabilistic-admitter", &Reader(admitters::probabilistic_admitter)),
    stable("queue-scorer", &Reader(scorers::queue_scorer)),
    stable("random-picker", &Reader(pickers::random_picker)),
    stable("request-attribute-reporter", &Reader(observers::request_attribute_reporter)),
    stable("round-robin-picker", &Reader(pickers::round_robin_picker)),
    stable("running-requests-size-scorer", &Reader(scorers::running_requests_size_scorer)),
    experimental("session-affinity-filter", &Reader(filters::session_affinity_filter)),
    experimental("session-affinity-scorer", &Reader(scorers::session_affinity_scorer)),
    stable("session-id-producer", &Reader(producers::session_id_producer)),
    stable("sglanghttp-parser", &Reader(shell::sglanghttp_parser)),
    stable("single-profile-handler", &Reader(handlers::single_profile_handler)),
    stable("slo-headroom-tier-filter", &Reader(filters::slo_headroom_tier_filter)),
    stable("static-usage-limit-policy", &Reader(shell::static_usage_limit_policy)),
    stable("token-load-scorer", &Reader(scorers::token_load_scorer)),
    stable("token-producer", &Reader(producers::token_producer)),
    stable("tokenizer", &Reader(producers::token_producer)),
    experimental("topology-affinity-filter", &Reader(filters::topology_affinity_filter)),
    experimental("topology-affinity-scorer", &Reader(scorers::topology_affinity_scorer)),
    experimental("topology-extractor", &Reader(shell::topology_extractor)),
    stable("trusted-prefix-cache-producer", &Reader(producers::trusted_prefix_cache_producer)),
    stable("utilization-detector", &Reader(filters::utilization_detector)),
    experimental("utilization-filter", &Reader(filters::utilization_filter)),
    stable("vertexai-parser", &Reader(shell::vertexai_parser)),
    stable("vllmgrpc-parser", &Reader(shell::vllmgrpc_parser)),
    stable("vllmhttp-parser", &Reader(shell::vllmhttp_parser)),
    stable("weighted-random-picker", &Reader(pickers::weighted_random_picker)),
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

/// The type that was probably meant by this name.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let known: Vec<_> = TYPES.iter().map(|known| known.name).collect();
    nearest::nearest(name, &known)
}

impl Type {
    /// Reads a plugin's parameters.
    pub(super) fn read(&self, parameters: &Node) -> Result<Blueprint> {
        self.parameters.read(parameters)
    }

    /// What a plugin's parameters must be like.
    #[cfg(feature = "schema")]
    pub(super) fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        self.parameters.schema(generator)
    }
}

/// A type of plugin that configurations may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PluginType {
    /// Its name.
    pub name: &'static str,
    /// Whether it is taken only when experimental plugins are allowed.
    pub experimental: bool,
}

/// Every type of plugin that there is, by name.
pub fn plugin_types() -> impl Iterator<Item = PluginType> {
    TYPES.iter().map(|known| PluginType { name: known.name, experimental: known.stability == Stability::Experimental })
}
