//! Scorers, from their parameters.

use super::session::known_session;
use super::{Blueprint, DEFAULT_PREFIX_PRODUCER, NoParameters, Result, from_0_to_1};
use crate::scorer::{
    ActiveRequestParameters, ActiveRequestScorer, KvCacheUtilizationScorer, NoHitLruParameters, NoHitLruScorer,
    PrefixCacheParameters, PrefixCacheScorer, QueueScorer, RunningRequestsScorer, SessionAffinityScorer,
    TokenLoadParameters, TokenLoadScorer,
};
use crate::session;

pub(in crate::config) fn queue_scorer(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(QueueScorer::default))
}

pub(in crate::config) fn running_requests_size_scorer(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(RunningRequestsScorer::default))
}

pub(in crate::config) fn kv_cache_utilization_scorer(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::scorer(KvCacheUtilizationScorer::default))
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

pub(in crate::config) fn session_affinity_scorer(parameters: session::Parameters) -> Result<Blueprint> {
    known_session(&parameters)?;
    Ok(Blueprint::scorer(move || SessionAffinityScorer::new(parameters.affinity())))
}
