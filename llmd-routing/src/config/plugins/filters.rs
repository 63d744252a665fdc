//! Filters, from their parameters.

use super::session::known_session;
use super::{
    Blueprint, DEFAULT_LATENCY_PRODUCER, DEFAULT_PREFIX_PRODUCER, NoParameters, Result, from_0_to_1, not_negative,
    number_within,
};
use crate::filter::{
    LabelSelector, LabelSelectorFilter, PrefixCacheAffinityFilter, PrefixCacheAffinityParameters, RoleFilter,
    SessionAffinityFilter, TtftSource, TtftSourceName,
};
use crate::session;

pub(in crate::config) fn decode_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::filter(RoleFilter::decode))
}

pub(in crate::config) fn prefill_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::filter(RoleFilter::prefill))
}

pub(in crate::config) fn encode_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::filter(RoleFilter::encode))
}

pub(in crate::config) fn label_selector_filter(selector: LabelSelector) -> Result<Blueprint> {
    Ok(Blueprint::filter(move || LabelSelectorFilter::new(Clone::clone(&selector))))
}

pub(in crate::config) fn session_affinity_filter(parameters: session::Parameters) -> Result<Blueprint> {
    known_session(&parameters)?;
    Ok(Blueprint::filter(move || SessionAffinityFilter::new(parameters.affinity())))
}

pub(in crate::config) fn prefix_cache_affinity_filter(parameters: PrefixCacheAffinityParameters) -> Result<Blueprint> {
    let PrefixCacheAffinityParameters { affinity_threshold: threshold, exploration_probability: exploring, .. } =
        parameters;
    let PrefixCacheAffinityParameters { max_ttft_penalty_ms: penalty, peak_prefill_throughput: throughput, .. } =
        parameters;
    number_within(threshold <= 1.0, threshold, "of at most 1", "affinityThreshold")?;
    from_0_to_1(exploring, "explorationProbability")?;
    not_negative(penalty, "maxTTFTPenaltyMs")?;
    not_negative(throughput, "peakPrefillThroughput")?;
    let ttft = match parameters.ttft_source {
        TtftSourceName::LatencyPredictor => {
            let producer = parameters.latency_prediction_info_producer_name;
            TtftSource::LatencyPredictor(producer.unwrap_or_else(|| DEFAULT_LATENCY_PRODUCER.to_owned()))
        }
        TtftSourceName::PrefillThroughput => {
            number_within(throughput > 0.0 || penalty == 0.0, throughput, "above 0", "peakPrefillThroughput")?;
            TtftSource::PrefillThroughput(throughput)
        }
    };
    let producer = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(Blueprint::filter(move || {
        let filter = PrefixCacheAffinityFilter::new(producer.clone(), threshold).exploring(exploring);
        filter.with_max_ttft_penalty(penalty, ttft.clone())
    }))
}
