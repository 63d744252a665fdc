//! Filters, from their parameters.

use super::session::known_session;
use super::{
    Blueprint, DEFAULT_LATENCY_PRODUCER, DEFAULT_PREFIX_PRODUCER, Fault, NoParameters, Result, attribute_name,
    from_0_to_1, not_empty, not_negative, number_within, positive,
};
use crate::filter::{
    ByLabelFilter, ByLabelParameters, ConcurrencyDetector, ConcurrencyParameters, EndpointAttributeFilter,
    EndpointAttributeParameters, HeaderBasedTestingFilter, LabelSelector, LabelSelectorFilter, Metric,
    PrefixCacheAffinityFilter, PrefixCacheAffinityParameters, RoleFilter, SessionAffinityFilter, SloHeadroomTierFilter,
    SloHeadroomTierParameters, TopologyAffinityFilter, TopologyAffinityParameters, TtftSource, TtftSourceName,
    UtilizationDetector, UtilizationDetectorParameters, UtilizationFilter, UtilizationParameters,
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

pub(in crate::config) fn slo_headroom_tier_filter(parameters: SloHeadroomTierParameters) -> Result<Blueprint> {
    let explore = parameters.epsilon_explore_neg;
    from_0_to_1(explore, "epsilonExploreNeg")?;
    let producer = parameters.latency_prediction_info_producer_name;
    let producer = producer.unwrap_or_else(|| DEFAULT_LATENCY_PRODUCER.to_owned());
    Ok(Blueprint::filter(move || SloHeadroomTierFilter::new(producer.clone(), explore)))
}

pub(in crate::config) fn by_label(parameters: ByLabelParameters) -> Result<Blueprint> {
    let ByLabelParameters { label, valid_values, allows_no_label } = parameters;
    not_empty(&label, "label")?;
    if valid_values.is_empty() && !allows_no_label {
        let message = "no value where at least one was expected, unless `allowsNoLabel` is true";
        return Err(Fault::invalid(message).within("validValues"));
    }
    Ok(Blueprint::filter(move || {
        ByLabelFilter::new(label.clone(), valid_values.iter().cloned()).allowing_no_label(allows_no_label)
    }))
}

pub(in crate::config) fn endpoint_attribute_filter(parameters: EndpointAttributeParameters) -> Result<Blueprint> {
    let EndpointAttributeParameters { attribute, producer, on_missing, fallback_on_empty, algorithm } = parameters;
    attribute_name(&attribute, producer.as_deref(), "attribute")?;
    let threshold = algorithm.threshold;
    Ok(Blueprint::filter(move || {
        let filter = EndpointAttributeFilter::new(attribute.clone(), threshold.operator, threshold.value);
        filter.on_missing(on_missing).falling_back(fallback_on_empty)
    }))
}

pub(in crate::config) fn topology_affinity_filter(parameters: TopologyAffinityParameters) -> Result<Blueprint> {
    let TopologyAffinityParameters { min_affinity, labels, .. } = parameters;
    Ok(Blueprint::filter(move || TopologyAffinityFilter::new(min_affinity, labels.clone())))
}

pub(in crate::config) fn utilization_filter(parameters: UtilizationParameters) -> Result<Blueprint> {
    let UtilizationParameters { conditions, fallback_on_empty, .. } = parameters;
    if conditions.is_empty() {
        return Err(Fault::invalid("no condition where at least one was expected").within("conditions"));
    }
    for (place, condition) in conditions.iter().enumerate() {
        let limit = condition.max_value;
        let within = match condition.metric {
            Metric::KvCacheUtilization => from_0_to_1(limit, "maxValue"),
            _ => not_negative(limit, "maxValue"),
        };
        within.map_err(|fault| fault.within_item(place).within("conditions"))?;
    }
    Ok(Blueprint::filter(move || UtilizationFilter::new(conditions.iter().copied()).falling_back(fallback_on_empty)))
}

pub(in crate::config) fn concurrency_detector(parameters: ConcurrencyParameters) -> Result<Blueprint> {
    positive(parameters.max_concurrency, "maxConcurrency")?;
    positive(parameters.max_token_concurrency, "maxTokenConcurrency")?;
    not_negative(parameters.headroom, "headroom")?;
    let detector = ConcurrencyDetector::from(parameters);
    Ok(Blueprint::detector(move || detector.clone()))
}

pub(in crate::config) fn utilization_detector(parameters: UtilizationDetectorParameters) -> Result<Blueprint> {
    positive(parameters.queue_depth_threshold, "queueDepthThreshold")?;
    let usage = parameters.kv_cache_util_threshold;
    number_within(usage > 0.0 && usage <= 1.0, usage, "above 0 and of at most 1", "kvCacheUtilThreshold")?;
    if parameters.metrics_staleness_threshold.0.is_zero() {
        let message = "no time where some was expected";
        return Err(Fault::invalid(message).within("metricsStalenessThreshold"));
    }
    not_negative(parameters.headroom, "headroom")?;
    let detector = UtilizationDetector::from(parameters);
    Ok(Blueprint::detector(move || detector.clone()))
}

pub(in crate::config) fn header_based_testing_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::filter(HeaderBasedTestingFilter::default))
}
