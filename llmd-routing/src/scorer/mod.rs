//! Scorers: how good each candidate is, from 0 to 1.

mod active_request;
mod completion_time;
mod context_length_aware;
mod endpoint_attribute;
mod header_label_affinity;
mod kv_cache_utilization;
mod latency;
mod load_aware;
mod lora_affinity;
mod missing_metrics;
mod mm_embeddings_cache;
mod no_hit_lru;
mod prefix_cache;
mod queue;
mod running_requests;
mod session_affinity;
mod token_load;
mod topology_affinity;

pub use active_request::ActiveRequestScorer;
pub(crate) use active_request::Parameters as ActiveRequestParameters;
pub use completion_time::CompletionTimeScorer;
pub(crate) use completion_time::Parameters as CompletionTimeParameters;
pub use context_length_aware::ContextLengthAware;
pub(crate) use context_length_aware::Parameters as ContextLengthParameters;
pub(crate) use endpoint_attribute::Parameters as EndpointAttributeParameters;
pub use endpoint_attribute::{Better, EndpointAttributeScorer, MissingAttribute};
pub use header_label_affinity::HeaderLabelAffinityScorer;
pub(crate) use header_label_affinity::Parameters as HeaderLabelAffinityParameters;
pub use kv_cache_utilization::KvCacheUtilizationScorer;
pub(crate) use latency::Parameters as LatencyParameters;
pub use latency::{Headroom, LatencyScorer, LatencyWeights};
pub use load_aware::LoadAwareScorer;
pub(crate) use load_aware::Parameters as LoadAwareParameters;
pub(crate) use lora_affinity::Parameters as LoraAffinityParameters;
pub use lora_affinity::{LoraAffinityScorer, Slots};
pub use missing_metrics::MissingMetrics;
pub(crate) use missing_metrics::Parameters as MetricsParameters;
pub use mm_embeddings_cache::MmEmbeddingsCacheScorer;
pub(crate) use mm_embeddings_cache::Parameters as MmEmbeddingsCacheParameters;
pub use no_hit_lru::NoHitLruScorer;
pub(crate) use no_hit_lru::Parameters as NoHitLruParameters;
pub(crate) use prefix_cache::Parameters as PrefixCacheParameters;
pub use prefix_cache::PrefixCacheScorer;
pub use queue::QueueScorer;
pub use running_requests::RunningRequestsScorer;
pub use session_affinity::SessionAffinityScorer;
pub(crate) use token_load::Parameters as TokenLoadParameters;
pub use token_load::TokenLoadScorer;
pub(crate) use topology_affinity::Parameters as TopologyAffinityParameters;
pub use topology_affinity::TopologyAffinityScorer;

use crate::plugin::{Candidate, Candidates, UNKNOWN};

/// `(max − n) / (max − min)` over the candidates that say `n`, 1 when all say the same; those that do not say are
/// [`UNKNOWN`].
fn fewer_is_better(candidates: &Candidates<'_>, out: &mut [f64], count: impl Fn(Candidate<'_>) -> Option<u64>) {
    let counts = || candidates.iter().map(&count);
    let (min, max) = counts().flatten().fold((u64::MAX, 0), |(min, max), n| (min.min(n), max.max(n)));
    for (score, n) in out.iter_mut().zip(counts()) {
        *score = match n {
            None => UNKNOWN,
            Some(_) if max == min => 1.0,
            Some(n) => (max - n) as f64 / (max - min) as f64,
        };
    }
}
