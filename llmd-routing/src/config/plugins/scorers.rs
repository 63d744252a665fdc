//! Scorers, from their parameters.

use super::session::known_session;
use super::{Blueprint, DEFAULT_PREFIX_PRODUCER, Fault, NoParameters, Result};
use crate::scorer::{
    ActiveRequestParameters, ActiveRequestScorer, KvCacheUtilizationScorer, PrefixCacheParameters, PrefixCacheScorer,
    QueueScorer, RunningRequestsScorer, SessionAffinityScorer, TokenLoadParameters, TokenLoadScorer,
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
    if !(0.0..=1.0).contains(&weight) {
        let message = format!("number `{weight}` where one from 0 to 1 was expected");
        return Err(Fault::invalid(message).within("matchLengthWeight"));
    }
    let producer = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(Blueprint::scorer(move || PrefixCacheScorer::new(producer.clone()).with_length(weight, scale)))
}

pub(in crate::config) fn session_affinity_scorer(parameters: session::Parameters) -> Result<Blueprint> {
    known_session(&parameters)?;
    Ok(Blueprint::scorer(move || SessionAffinityScorer::new(parameters.affinity())))
}
