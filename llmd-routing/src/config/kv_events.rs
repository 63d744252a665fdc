//! `precise-prefix-cache-producer`: where KV events come from, which is for those to know who feed the index, and what
//! cached blocks are worth.

use std::time::Duration;

use llmd_core::Medium;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fault::{Fault, Result};
use crate::duration::GoDuration;
use crate::producer::TierWeights;

/// Where KV events come from and what becomes of them, as `precise-prefix-cache-producer` says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KvEvents {
    /// What the topics of events begin with; default `kv@`.
    pub topic_filter: String,
    /// The port on which each engine publishes its events, that of its first data-parallel rank; default 5557.
    pub socket_port: u16,
    /// The port on which it replays them; default none.
    pub replay_socket_port: Option<u16>,
    /// Tokens per block of the index, which must be the engines' own, where it is said; llm-d's default is 16.
    pub block_size: Option<usize>,
    /// At most how many blocks the index holds; default 100,000,000.
    pub max_blocks: usize,
}

/// What they come to.
#[derive(Clone, Debug)]
pub(super) struct Precise {
    pub(super) events: KvEvents,
    pub(super) weights: TierWeights,
    /// Whether engines measure what cached blocks are worth.
    pub(super) measured: bool,
    /// How long blocks are expected that a request brings with it; `None` when they are not.
    pub(super) speculative_ttl: Option<Duration>,
}

/// The parameters of `precise-prefix-cache-producer`, as they are written.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PreciseParameters {
    token_processor_config: TokenProcessor,
    indexer_config: Indexer,
    kv_events_config: Events,
    speculative_indexing: bool,
    #[serde(rename = "speculativeTTL")]
    speculative_ttl: GoDuration,
    /// llmd's own.
    tier_weights: TierWeightsName,
}

/// Where the weights of what is not in GPU memory come from: the configuration, or what engines measure that loading saves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum TierWeightsName {
    #[default]
    Configured,
    Measured,
}

impl Default for PreciseParameters {
    fn default() -> Self {
        Self {
            token_processor_config: TokenProcessor::default(),
            indexer_config: Indexer::default(),
            kv_events_config: Events::default(),
            speculative_indexing: false,
            speculative_ttl: GoDuration(Duration::from_secs(2)),
            tier_weights: TierWeightsName::default(),
        }
    }
}

/// Seed and algorithm name llm-d's blocks to llm-d alone; llmd's index names its own, and nothing else depends on it.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct TokenProcessor {
    block_size_tokens: Option<usize>,
    block_size: Option<usize>,
    #[serde(rename = "hashSeed")]
    _hash_seed: Option<String>,
    #[serde(rename = "hashAlgorithm")]
    _hash_algorithm: Option<HashAlgorithm>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum HashAlgorithm {
    #[serde(rename = "")]
    Default,
    #[serde(rename = "cbor-fnv")]
    CborFnv,
    #[serde(rename = "xxh64")]
    Xxh64,
}

#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Indexer {
    kv_block_index_config: BlockIndex,
    kv_cache_backend_configs: Option<Vec<Backend>>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    tokenizers_pool_config: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct BlockIndex {
    in_memory_config: InMemory,
    /// Whoever holds the index always publishes its figures.
    #[serde(rename = "enableMetrics")]
    _enable_metrics: Option<bool>,
    #[serde(rename = "metricsLoggingInterval")]
    _metrics_logging_interval: Option<GoDuration>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    cost_aware_memory_config: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    redis_config: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct InMemory {
    size: usize,
    /// llmd forgets no holder of a block, so there is no such limit.
    #[serde(rename = "podCacheSize")]
    _pod_cache_size: Option<u32>,
}

impl Default for InMemory {
    fn default() -> Self {
        Self { size: 100_000_000, _pod_cache_size: None }
    }
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Backend {
    name: BackendName,
    weight: f64,
}

#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum BackendName {
    Gpu,
    Cpu,
    Storage,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Events {
    topic_filter: String,
    /// Events are decoded where they arrive.
    #[serde(rename = "concurrency")]
    _concurrency: Option<u32>,
    /// Both kinds are told apart by what they send.
    #[serde(rename = "engineType")]
    _engine_type: Option<EngineType>,
    discover_pods: bool,
    pod_discovery_config: PodDiscovery,
    #[cfg_attr(feature = "schema", schemars(skip))]
    zmq_endpoint: Option<IgnoredAny>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            topic_filter: "kv@".to_owned(),
            _concurrency: None,
            _engine_type: None,
            discover_pods: true,
            pod_discovery_config: PodDiscovery::default(),
            zmq_endpoint: None,
        }
    }
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum EngineType {
    Vllm,
    Sglang,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct PodDiscovery {
    /// Every endpoint of the pool is listened to.
    #[serde(rename = "podLabelSelector")]
    _pod_label_selector: Option<String>,
    socket_port: u16,
    replay_socket_port: u16,
}

impl Default for PodDiscovery {
    fn default() -> Self {
        Self { _pod_label_selector: None, socket_port: 5557, replay_socket_port: 0 }
    }
}

impl Precise {
    pub(super) fn new(parameters: PreciseParameters) -> Result<Self> {
        let index = parameters.indexer_config.kv_block_index_config;
        let elsewhere =
            [("costAwareMemoryConfig", index.cost_aware_memory_config), ("redisConfig", index.redis_config)];
        if let Some((field, _)) = elsewhere.iter().find(|(_, given)| given.is_some()) {
            let fault = Fault::not_supported("the index is in memory; use `inMemoryConfig`");
            return Err(fault.along(&["indexerConfig", "kvBlockIndexConfig", field]));
        }
        if parameters.indexer_config.tokenizers_pool_config.is_some() {
            let fault = Fault::not_supported("tokens come from a producer of their own; use token-producer");
            return Err(fault.along(&["indexerConfig", "tokenizersPoolConfig"]));
        }
        let events = parameters.kv_events_config;
        if events.zmq_endpoint.is_some() {
            let bind =
                "engines that connect to the router are not there yet; let it connect to them, by `podDiscoveryConfig`";
            return Err(Fault::not_supported(bind).along(&["kvEventsConfig", "zmqEndpoint"]));
        }
        if !events.discover_pods {
            let fault = Fault::unsupported("events need endpoints that are discovered; leave it out");
            return Err(fault.along(&["kvEventsConfig", "discoverPods"]));
        }
        let processor = parameters.token_processor_config;
        let block_size = processor.block_size_tokens.or(processor.block_size);
        if block_size == Some(0) {
            let field = if processor.block_size_tokens.is_some() { "blockSizeTokens" } else { "blockSize" };
            let fault = Fault::invalid("a block of 0 tokens where at least 1 was expected");
            return Err(fault.along(&["tokenProcessorConfig", field]));
        }
        let backends = parameters.indexer_config.kv_cache_backend_configs.unwrap_or_default();
        let weights = backends.iter().fold(TierWeights::default(), |weights, backend| {
            let medium = match backend.name {
                BackendName::Gpu => Medium::Gpu,
                BackendName::Cpu => Medium::Cpu,
                BackendName::Storage => Medium::Storage,
            };
            weights.with(medium, backend.weight)
        });
        let pods = events.pod_discovery_config;
        let events = KvEvents {
            topic_filter: events.topic_filter,
            socket_port: pods.socket_port,
            replay_socket_port: Some(pods.replay_socket_port).filter(|&port| port > 0),
            block_size,
            max_blocks: index.in_memory_config.size,
        };
        let speculative_ttl = parameters.speculative_indexing.then_some(parameters.speculative_ttl.0);
        let measured = parameters.tier_weights == TierWeightsName::Measured;
        Ok(Self { events, weights, measured, speculative_ttl })
    }
}
