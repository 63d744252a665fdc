//! Scorers, from their parameters.

use super::session::known_session;
use super::{
    Blueprint, DEFAULT_ENCODER_PRODUCER, DEFAULT_LATENCY_PRODUCER, DEFAULT_PREFIX_PRODUCER, Fault, Result, above_0,
    attribute_name, from_0_to_1, not_empty, not_negative,
};
use crate::config::kv_events::{Precise, PreciseParameters};
use crate::scorer::{
    ActiveRequestParameters, ActiveRequestScorer, CompletionTimeParameters, CompletionTimeScorer, ContextLengthAware,
    ContextLengthParameters, EndpointAttributeParameters, EndpointAttributeScorer, HeaderLabelAffinityParameters,
    HeaderLabelAffinityScorer, KvCacheUtilizationScorer, LatencyParameters, LatencyScorer, LatencyWeights,
    LoadAwareParameters, LoadAwareScorer, LoraAffinityParameters, LoraAffinityScorer, MetricsParameters,
    MmEmbeddingsCacheParameters, MmEmbeddingsCacheScorer, NoHitLruParameters, NoHitLruScorer, PrefixCacheParameters,
    PrefixCacheScorer, QueueScorer, RunningRequestsScorer, SessionAffinityScorer, TokenLoadParameters, TokenLoadScorer,
    TopologyAffinityParameters, TopologyAffinityScorer,
};
use crate::session;

pub(in crate::config) fn queue_scorer(parameters: MetricsParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(move || QueueScorer::new(parameters.missing_metrics)))
}

pub(in crate::config) fn running_requests_size_scorer(parameters: MetricsParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(move || RunningRequestsScorer::new(parameters.missing_metrics)))
}

pub(in crate::config) fn kv_cache_utilization_scorer(parameters: MetricsParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(move || KvCacheUtilizationScorer::new(parameters.missing_metrics)))
}

pub(in crate::config) fn active_request_scorer(parameters: ActiveRequestParameters) -> Result<Blueprint> {
    let ActiveRequestParameters { idle_threshold, max_busy_score, .. } = parameters;
    Ok(Blueprint::scorer(move || ActiveRequestScorer::new(idle_threshold, max_busy_score)))
}

pub(in crate::config) fn token_load_scorer(parameters: TokenLoadParameters) -> Result<Blueprint> {
    let TokenLoadParameters { queue_threshold_tokens } = parameters;
    Ok(Blueprint::scorer(move || TokenLoadScorer::new(queue_threshold_tokens)))
}

pub(in crate::config) fn prefix_cache_scorer(parameters: PrefixCacheParameters) -> Result<Blueprint> {
    let PrefixCacheParameters { match_length_weight: weight, match_length_scale_tokens: scale, .. } = parameters;
    from_0_to_1(weight, "matchLengthWeight")?;
    let producer = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(Blueprint::scorer(move || PrefixCacheScorer::new(producer.clone()).with_length(weight, scale)))
}

pub(in crate::config) fn no_hit_lru_scorer(parameters: NoHitLruParameters) -> Result<Blueprint> {
    let size = parameters.lru_size();
    let producer = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(Blueprint::scorer(move || NoHitLruScorer::new(producer.clone()).with_lru_size(size)))
}

pub(in crate::config) fn precise_prefix_cache_scorer(parameters: PreciseParameters) -> Result<Blueprint> {
    Precise::new(parameters).map(Box::new).map(Blueprint::PreciseScorer)
}

pub(in crate::config) fn session_affinity_scorer(parameters: session::Parameters) -> Result<Blueprint> {
    known_session(&parameters)?;
    Ok(Blueprint::scorer(move || SessionAffinityScorer::new(parameters.affinity())))
}

pub(in crate::config) fn load_aware_scorer(parameters: LoadAwareParameters) -> Result<Blueprint> {
    let threshold = parameters.threshold();
    Ok(Blueprint::scorer(move || LoadAwareScorer::new(threshold)))
}

pub(in crate::config) fn lora_affinity_scorer(parameters: LoraAffinityParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(move || LoraAffinityScorer::new(parameters.slots)))
}

pub(in crate::config) fn context_length_aware(parameters: ContextLengthParameters) -> Result<Blueprint> {
    let ContextLengthParameters { label, enable_filtering } = parameters;
    not_empty(&label, "label")?;
    Ok(Blueprint::filter_and_scorer(move || ContextLengthAware::new(label.clone(), enable_filtering)))
}

pub(in crate::config) fn latency_scorer(parameters: LatencyParameters) -> Result<Blueprint> {
    not_negative(parameters.ttft_weight, "ttftWeight")?;
    not_negative(parameters.tpot_weight, "tpotWeight")?;
    not_negative(parameters.composite_kv_weight, "compositeKVWeight")?;
    not_negative(parameters.composite_queue_weight, "compositeQueueWeight")?;
    not_negative(parameters.composite_prefix_weight, "compositePrefixWeight")?;
    let (weights, headroom) = (LatencyWeights::from(&parameters), parameters.headroom_selection_strategy);
    let latency = parameters.latency_prediction_info_producer_name;
    let latency = latency.unwrap_or_else(|| DEFAULT_LATENCY_PRODUCER.to_owned());
    let prefix = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(Blueprint::scorer(move || {
        LatencyScorer::new(latency.clone(), prefix.clone()).with_weights(weights).with_headroom(headroom)
    }))
}

pub(in crate::config) fn mm_embeddings_cache_scorer(parameters: MmEmbeddingsCacheParameters) -> Result<Blueprint> {
    let producer = parameters.producer_name.filter(|name| !name.is_empty());
    let producer = producer.unwrap_or_else(|| DEFAULT_ENCODER_PRODUCER.to_owned());
    Ok(Blueprint::scorer(move || MmEmbeddingsCacheScorer::new(producer.clone())))
}

pub(in crate::config) fn endpoint_attribute_scorer(parameters: EndpointAttributeParameters) -> Result<Blueprint> {
    let EndpointAttributeParameters { attribute_key: attribute, producer, algorithm, missing_attribute } = parameters;
    attribute_name(&attribute, producer.as_deref(), "attributeKey")?;
    let normalization = algorithm.normalization;
    let range = normalization.fixed_range;
    let within = |fault: Fault| fault.along(&["algorithm", "normalization"]);
    if range.is_some() && normalization.adaptive_range.is_some() {
        return Err(within(Fault::invalid("both of `fixedRange` and `adaptiveRange` are given")));
    }
    if let Some(range) = range.filter(|range| range.min >= range.max) {
        let message =
            format!("a range from {} to {} where an end above its beginning was expected", range.min, range.max);
        return Err(within(Fault::invalid(message).within("fixedRange")));
    }
    Ok(Blueprint::scorer(move || {
        let scorer = EndpointAttributeScorer::new(attribute.clone(), algorithm.better).with_missing(missing_attribute);
        match range {
            Some(range) => scorer.within(range.min, range.max),
            None => scorer,
        }
    }))
}

pub(in crate::config) fn header_label_affinity_scorer(parameters: HeaderLabelAffinityParameters) -> Result<Blueprint> {
    let HeaderLabelAffinityParameters { header_name, label_key } = parameters;
    not_empty(&header_name, "headerName")?;
    not_empty(&label_key, "labelKey")?;
    Ok(Blueprint::scorer(move || HeaderLabelAffinityScorer::new(&header_name, label_key.clone())))
}

pub(in crate::config) fn topology_affinity_scorer(parameters: TopologyAffinityParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(move || TopologyAffinityScorer::new(parameters.labels.clone())))
}

/// llmd's own.
pub(in crate::config) fn completion_time_scorer(parameters: CompletionTimeParameters) -> Result<Blueprint> {
    above_0(parameters.prefill_tokens_per_second, "prefillTokensPerSecond")?;
    above_0(parameters.step_ms, "stepMs")?;
    not_negative(parameters.read_ms_per_kilo_token, "readMsPerKiloToken")?;
    not_negative(parameters.eviction_cost, "evictionCost")?;
    not_negative(parameters.recompute_cost, "recomputeCost")?;
    Ok(Blueprint::scorer(move || CompletionTimeScorer::from(parameters)))
}
