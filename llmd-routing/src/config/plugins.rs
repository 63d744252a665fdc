//! One function per type of plugin: from its parameters to how it is made. A fault names the field that it is about, as far
//! as it is about one.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::absent::FLOW;
use super::blueprint::Blueprint;
use super::fault::{Fault, Result};
use super::kv_events::{Precise, PreciseParameters};
use super::tokens::{TokenParameters, TokenProducer};
use crate::filter::{LabelSelector, LabelSelectorFilter, RoleFilter, SessionAffinityFilter};
use crate::picker::{self, MaxScorePicker, RandomPicker, RoundRobinPicker, WeightedRandomPicker};
use crate::plugin::{Filter, Picker, Scorer};
use crate::producer::{ApproxParameters, InFlightLoadParameters};
use crate::scorer::{
    ActiveRequestParameters, ActiveRequestScorer, KvCacheUtilizationScorer, PrefixCacheParameters, PrefixCacheScorer,
    QueueScorer, RunningRequestsScorer, SessionAffinityScorer, TokenLoadParameters, TokenLoadScorer,
};
use crate::{SingleProfileHandler, session};

/// The producer that a plugin reads prefix matches from when it does not say.
pub(super) const DEFAULT_PREFIX_PRODUCER: &str = "approx-prefix-cache-producer";

/// The parameters of what has none.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameters {}

fn filter<F: Filter + 'static>(make: impl Fn() -> F + Send + Sync + 'static) -> Blueprint {
    Blueprint::Filter(Arc::new(move || Arc::new(make())))
}

fn scorer<S: Scorer + 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> Blueprint {
    Blueprint::Scorer(Arc::new(move || Arc::new(make())))
}

fn picker<P: Picker + 'static>(parameters: &picker::Parameters, make: fn(usize) -> P) -> Result<Blueprint> {
    let picks = parameters.picks();
    Ok(Blueprint::Picker(Arc::new(move || Arc::new(make(picks)))))
}

pub(super) fn nothing(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Nothing)
}

pub(super) fn decode_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(filter(RoleFilter::decode))
}

pub(super) fn prefill_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(filter(RoleFilter::prefill))
}

pub(super) fn encode_filter(_: NoParameters) -> Result<Blueprint> {
    Ok(filter(RoleFilter::encode))
}

pub(super) fn label_selector_filter(selector: LabelSelector) -> Result<Blueprint> {
    Ok(filter(move || LabelSelectorFilter::new(Clone::clone(&selector))))
}

pub(super) fn session_affinity_filter(parameters: session::Parameters) -> Result<Blueprint> {
    known_session(&parameters)?;
    Ok(filter(move || SessionAffinityFilter::new(parameters.affinity())))
}

pub(super) fn session_affinity_scorer(parameters: session::Parameters) -> Result<Blueprint> {
    known_session(&parameters)?;
    Ok(scorer(move || SessionAffinityScorer::new(parameters.affinity())))
}

/// Refuses what llm-d knows sessions by and llmd does not.
fn known_session(parameters: &session::Parameters) -> Result<()> {
    if parameters.profile_name.is_some() {
        let instead = "sessions of one profile are not there yet; leave it out";
        return Err(Fault::not_supported(instead).within("profileName"));
    }
    for (place, source) in parameters.session_id_config.sources.iter().enumerate() {
        let fault = if source.attribute.is_some() {
            Fault::not_supported("sessions are known by a header; use `header`").within("attribute")
        } else if place > 0 {
            Fault::unsupported("one source is taken")
        } else {
            continue;
        };
        return Err(fault.within_item(place).along(&["sessionIdConfig", "sources"]));
    }
    Ok(())
}

pub(super) fn queue_scorer(_: NoParameters) -> Result<Blueprint> {
    Ok(scorer(QueueScorer::default))
}

pub(super) fn running_requests_size_scorer(_: NoParameters) -> Result<Blueprint> {
    Ok(scorer(RunningRequestsScorer::default))
}

pub(super) fn kv_cache_utilization_scorer(_: NoParameters) -> Result<Blueprint> {
    Ok(scorer(KvCacheUtilizationScorer::default))
}

pub(super) fn active_request_scorer(parameters: ActiveRequestParameters) -> Result<Blueprint> {
    let ActiveRequestParameters { idle_threshold, max_busy_score, .. } = parameters;
    Ok(scorer(move || ActiveRequestScorer::new(idle_threshold, max_busy_score)))
}

pub(super) fn token_load_scorer(parameters: TokenLoadParameters) -> Result<Blueprint> {
    let TokenLoadParameters { queue_threshold_tokens } = parameters;
    Ok(scorer(move || TokenLoadScorer::new(queue_threshold_tokens)))
}

pub(super) fn prefix_cache_scorer(parameters: PrefixCacheParameters) -> Result<Blueprint> {
    let PrefixCacheParameters { match_length_weight: weight, match_length_scale_tokens: scale, .. } = parameters;
    if !(0.0..=1.0).contains(&weight) {
        let message = format!("number `{weight}` where one from 0 to 1 was expected");
        return Err(Fault::invalid(message).within("matchLengthWeight"));
    }
    let producer = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(scorer(move || PrefixCacheScorer::new(producer.clone()).with_length(weight, scale)))
}

pub(super) fn max_score_picker(parameters: picker::Parameters) -> Result<Blueprint> {
    picker(&parameters, MaxScorePicker::new)
}

pub(super) fn random_picker(parameters: picker::Parameters) -> Result<Blueprint> {
    picker(&parameters, RandomPicker::new)
}

pub(super) fn weighted_random_picker(parameters: picker::Parameters) -> Result<Blueprint> {
    picker(&parameters, WeightedRandomPicker::new)
}

pub(super) fn round_robin_picker(parameters: picker::Parameters) -> Result<Blueprint> {
    picker(&parameters, RoundRobinPicker::new)
}

pub(super) fn single_profile_handler(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Handler(Arc::new(|| Arc::new(SingleProfileHandler))))
}

pub(super) fn inflight_load_producer(parameters: InFlightLoadParameters) -> Result<Blueprint> {
    Ok(Blueprint::InFlight(parameters.into()))
}

pub(super) fn approx_prefix_cache_producer(parameters: ApproxParameters) -> Result<Blueprint> {
    Ok(Blueprint::Approx(parameters.into()))
}

pub(super) fn precise_prefix_cache_producer(parameters: PreciseParameters) -> Result<Blueprint> {
    Precise::new(parameters).map(Box::new).map(Blueprint::Precise)
}

pub(super) fn token_producer(parameters: TokenParameters) -> Result<Blueprint> {
    TokenProducer::new(parameters).map(Blueprint::Tokens)
}

/// The parameters of `static-usage-limit-policy`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct UsageLimitParameters {
    threshold: Option<f64>,
}

/// A ceiling of 1, the default, limits nothing.
pub(super) fn static_usage_limit_policy(parameters: UsageLimitParameters) -> Result<Blueprint> {
    match parameters.threshold {
        Some(threshold) if threshold < 1.0 => Err(Fault::unsupported(FLOW).within("threshold")),
        _ => Ok(Blueprint::Nothing),
    }
}

/// The parameters of `metrics-data-source`.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MetricsSourceParameters {
    #[serde(rename = "scheme")]
    _scheme: Option<Scheme>,
    path: Option<String>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    port: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    interval: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    insecure_skip_verify: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    ca_cert_path: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    client_cert_path: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    client_key_path: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Scheme {
    Http,
}

/// Where metrics come from is the shell's to say; what llm-d has by default is so here too.
pub(super) fn metrics_data_source(parameters: MetricsSourceParameters) -> Result<Blueprint> {
    let settings = [
        ("port", parameters.port),
        ("interval", parameters.interval),
        ("insecureSkipVerify", parameters.insecure_skip_verify),
        ("caCertPath", parameters.ca_cert_path),
        ("clientCertPath", parameters.client_cert_path),
        ("clientKeyPath", parameters.client_key_path),
    ];
    if let Some((field, _)) = settings.iter().find(|(_, given)| given.is_some()) {
        let instead = "the gateway has settings for how it reads metrics; leave it out";
        return Err(Fault::not_supported(instead).within(field));
    }
    match parameters.path.as_deref() {
        None | Some("/metrics") => Ok(Blueprint::Nothing),
        Some(other) => {
            let message = format!("metrics are read from /metrics, not from {other}");
            Err(Fault::unsupported(message).within("path"))
        }
    }
}
