//! One function per type of plugin: from its parameters to how it is made.

use std::sync::Arc;

use serde::Deserialize;

use super::absent::FLOW;
use super::blueprint::Blueprint;
use super::fault::{Fault, Result};
use super::kv_events::Precise;
use super::node::Node;
use super::tokens::TokenProducer;
use crate::filter::{LabelSelectorFilter, RoleFilter, SessionAffinityFilter};
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
#[serde(deny_unknown_fields)]
struct NoParameters {}

fn none(node: &Node) -> Result<()> {
    node.parameters().map(|NoParameters {}| ())
}

fn filter<F: Filter + 'static>(make: impl Fn() -> F + Send + Sync + 'static) -> Blueprint {
    Blueprint::Filter(Arc::new(move || Arc::new(make())))
}

fn scorer<S: Scorer + 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> Blueprint {
    Blueprint::Scorer(Arc::new(move || Arc::new(make())))
}

fn picker<P: Picker + 'static>(node: &Node, make: fn(usize) -> P) -> Result<Blueprint> {
    let picks = node.parameters::<picker::Parameters>()?.picks();
    Ok(Blueprint::Picker(Arc::new(move || Arc::new(make(picks)))))
}

pub(super) fn nothing(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| Blueprint::Nothing)
}

pub(super) fn decode_filter(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| filter(RoleFilter::decode))
}

pub(super) fn prefill_filter(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| filter(RoleFilter::prefill))
}

pub(super) fn encode_filter(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| filter(RoleFilter::encode))
}

pub(super) fn label_selector_filter(node: &Node) -> Result<Blueprint> {
    let selector = node.parameters()?;
    Ok(filter(move || LabelSelectorFilter::new(Clone::clone(&selector))))
}

pub(super) fn session_affinity_filter(node: &Node) -> Result<Blueprint> {
    let parameters = session_parameters(node)?;
    Ok(filter(move || SessionAffinityFilter::new(parameters.affinity())))
}

pub(super) fn session_affinity_scorer(node: &Node) -> Result<Blueprint> {
    let parameters = session_parameters(node)?;
    Ok(scorer(move || SessionAffinityScorer::new(parameters.affinity())))
}

fn session_parameters(node: &Node) -> Result<session::Parameters> {
    node.refuse(&["profileName"], "sessions of one profile are not there yet; leave it out")?;
    let sources = node.field("sessionIdConfig").and_then(|config| config.field("sources"));
    for (place, source) in sources.map(Node::items).transpose()?.unwrap_or_default().iter().enumerate() {
        let attribute = source.refuse(&["attribute"], "sessions are known by a header; use `header`");
        let second = if place > 0 { Err(Fault::unsupported("one source is taken").at(source.mark)) } else { Ok(()) };
        attribute.and(second).map_err(|fault| fault.within_item(place).within("sources").within("sessionIdConfig"))?;
    }
    node.parameters()
}

pub(super) fn queue_scorer(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| scorer(QueueScorer::default))
}

pub(super) fn running_requests_size_scorer(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| scorer(RunningRequestsScorer::default))
}

pub(super) fn kv_cache_utilization_scorer(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| scorer(KvCacheUtilizationScorer::default))
}

pub(super) fn active_request_scorer(node: &Node) -> Result<Blueprint> {
    let ActiveRequestParameters { idle_threshold, max_busy_score, .. } = node.parameters()?;
    Ok(scorer(move || ActiveRequestScorer::new(idle_threshold, max_busy_score)))
}

pub(super) fn token_load_scorer(node: &Node) -> Result<Blueprint> {
    let TokenLoadParameters { queue_threshold_tokens } = node.parameters()?;
    Ok(scorer(move || TokenLoadScorer::new(queue_threshold_tokens)))
}

pub(super) fn prefix_cache_scorer(node: &Node) -> Result<Blueprint> {
    let parameters: PrefixCacheParameters = node.parameters()?;
    let PrefixCacheParameters { match_length_weight: weight, match_length_scale_tokens: scale, .. } = parameters;
    if !(0.0..=1.0).contains(&weight) {
        let message = format!("number `{weight}` where one from 0 to 1 was expected");
        return Err(node.blame(&["matchLengthWeight"], Fault::invalid(message)));
    }
    let producer = parameters.prefix_match_info_producer_name.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(scorer(move || PrefixCacheScorer::new(producer.clone()).with_length(weight, scale)))
}

pub(super) fn max_score_picker(node: &Node) -> Result<Blueprint> {
    picker(node, MaxScorePicker::new)
}

pub(super) fn random_picker(node: &Node) -> Result<Blueprint> {
    picker(node, RandomPicker::new)
}

pub(super) fn weighted_random_picker(node: &Node) -> Result<Blueprint> {
    picker(node, WeightedRandomPicker::new)
}

pub(super) fn round_robin_picker(node: &Node) -> Result<Blueprint> {
    picker(node, RoundRobinPicker::new)
}

pub(super) fn single_profile_handler(node: &Node) -> Result<Blueprint> {
    none(node).map(|()| Blueprint::Handler(Arc::new(|| Arc::new(SingleProfileHandler))))
}

pub(super) fn inflight_load_producer(node: &Node) -> Result<Blueprint> {
    let parameters: InFlightLoadParameters = node.parameters()?;
    Ok(Blueprint::InFlight(parameters.into()))
}

pub(super) fn approx_prefix_cache_producer(node: &Node) -> Result<Blueprint> {
    let parameters: ApproxParameters = node.parameters()?;
    Ok(Blueprint::Approx(parameters.into()))
}

pub(super) fn precise_prefix_cache_producer(node: &Node) -> Result<Blueprint> {
    Ok(Blueprint::Precise(Box::new(Precise::read(node)?)))
}

pub(super) fn token_producer(node: &Node) -> Result<Blueprint> {
    TokenProducer::read(node).map(Blueprint::Tokens)
}

/// A ceiling of 1, the default, limits nothing.
pub(super) fn static_usage_limit_policy(node: &Node) -> Result<Blueprint> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Policy {
        threshold: Option<f64>,
    }

    match node.parameters()? {
        Policy { threshold: None } => Ok(Blueprint::Nothing),
        Policy { threshold: Some(threshold) } if threshold >= 1.0 => Ok(Blueprint::Nothing),
        Policy { .. } => Err(node.blame(&["threshold"], Fault::unsupported(FLOW))),
    }
}

/// Where metrics come from is the shell's to say; what llm-d has by default is so here too.
pub(super) fn metrics_data_source(node: &Node) -> Result<Blueprint> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Source {
        scheme: Option<Scheme>,
        path: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Scheme {
        Http,
    }

    for field in ["port", "interval", "insecureSkipVerify", "caCertPath", "clientCertPath", "clientKeyPath"] {
        node.refuse(&[field], "the gateway has settings for how it reads metrics; leave it out")?;
    }
    let Source { scheme: None | Some(Scheme::Http), path } = node.parameters()?;
    match path.as_deref() {
        None | Some("/metrics") => Ok(Blueprint::Nothing),
        Some(other) => {
            let fault = Fault::unsupported(format!("metrics are read from /metrics, not from {other}"));
            Err(node.blame(&["path"], fault))
        }
    }
}
