//! Profile handlers and deciders, from their parameters.

use std::sync::Arc;

use llmd_core::{Error, ErrorKind};
use serde::Deserialize;

use super::{Blueprint, Fault, NoParameters, Result};
use crate::config::blueprint::Around;
use crate::decider::{AlwaysDecider, MultimodalDecider, PrefixBasedDecider, PrefixBasedParameters};
use crate::handler::{
    DataParallelParameters, DataParallelProfileHandler, DisaggParameters, DisaggProfileHandler, HeaderProfileHandler,
    HeaderProfileParameters, SingleProfileHandler, StageOrder,
};
use crate::plugin::Decider;

pub(in crate::config) fn single_profile_handler(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::handler(|_| Ok(SingleProfileHandler)))
}

pub(in crate::config) fn header_profile_handler(parameters: HeaderProfileParameters) -> Result<Blueprint> {
    Ok(Blueprint::handler(move |_| Ok(HeaderProfileHandler::from(parameters.clone()))))
}

pub(in crate::config) fn data_parallel_profile_handler(parameters: DataParallelParameters) -> Result<Blueprint> {
    if parameters.primary_port == 0 {
        return Err(Fault::invalid("port 0 where one from 1 to 65535 was expected").within("primaryPort"));
    }
    Ok(Blueprint::handler(move |_| Ok(DataParallelProfileHandler::new(parameters.primary_port))))
}

pub(in crate::config) fn disagg_profile_handler(parameters: DisaggParameters) -> Result<Blueprint> {
    if parameters.stage_order == StageOrder::PrefillFirst && parameters.deciders.prefill.is_some() {
        let message = "a decider where prefill comes first, and so is always done; leave it out";
        return Err(Fault::invalid(message).within("prefill").within("deciders"));
    }
    Ok(Blueprint::handler(move |around| disagg(&parameters, around)))
}

/// The parameters of `pd-profile-handler`.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::config) struct PdParameters {
    decode_profile: Option<String>,
    prefill_profile: Option<String>,
    /// Decisions go by whichever producer of prefix matches there is.
    #[serde(rename = "prefixPluginType")]
    _prefix_plugin_type: Option<String>,
    #[serde(rename = "prefixPluginName")]
    _prefix_plugin_name: Option<String>,
    primary_port: u16,
    decider_plugin_name: Option<String>,
}

/// The older form of [`disagg_profile_handler`], which prefills everything elsewhere when it is given no decider.
pub(in crate::config) fn pd_profile_handler(parameters: PdParameters) -> Result<Blueprint> {
    if parameters.primary_port != 0 {
        let instead = "a port for ranks and stages at once is deprecated in llm-d; list each rank as an endpoint";
        return Err(Fault::not_supported(instead).within("primaryPort"));
    }
    let always = parameters.decider_plugin_name.is_none();
    let mut disagg_parameters = DisaggParameters::default();
    disagg_parameters.profiles.decode = parameters.decode_profile;
    disagg_parameters.profiles.prefill = Some(parameters.prefill_profile.unwrap_or_else(|| "prefill".to_owned()));
    disagg_parameters.deciders.prefill = parameters.decider_plugin_name;
    Ok(Blueprint::handler(move |around| {
        let handler = disagg(&disagg_parameters, around)?;
        Ok(if always { handler.with_prefill_decider(Arc::new(AlwaysDecider)) } else { handler })
    }))
}

fn disagg(parameters: &DisaggParameters, around: &Around<'_>) -> llmd_core::Result<DisaggProfileHandler> {
    let settings = parameters.settings();
    let wrong = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    let DisaggParameters { profiles, deciders, .. } = parameters;
    let prefills = deciders.prefill.is_some() || settings.order == StageOrder::PrefillFirst;
    let runs = [
        (Some(&settings.decode), true),
        (Some(&settings.prefill), profiles.prefill.is_some() || prefills),
        (Some(&settings.encode), profiles.encode.is_some() || deciders.encode.is_some()),
        (settings.fallback.as_ref(), true),
    ];
    for name in runs.into_iter().filter(|(_, runs)| *runs).filter_map(|(name, _)| name) {
        if !around.profiles.contains(name) {
            let known = around.profiles.join(", ");
            return wrong(format!("`{}` runs profile `{name}`, which is not there; profiles: {known}", around.name));
        }
    }
    let find = |name: &Option<String>| -> llmd_core::Result<Option<Arc<dyn Decider>>> {
        let Some(name) = name else { return Ok(None) };
        match around.decider(name) {
            Some(decider) => Ok(Some(decider)),
            None => {
                let known: Vec<_> = around.deciders.iter().map(|(known, _)| known.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("`{}` asks decider `{name}`, which is not there; deciders: {known}", around.name);
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    };
    let mut handler = DisaggProfileHandler::new(settings);
    if let Some(decider) = find(&deciders.prefill)? {
        handler = handler.with_prefill_decider(decider);
    }
    if let Some(decider) = find(&deciders.encode)? {
        handler = handler.with_encode_decider(decider);
    }
    Ok(handler)
}

pub(in crate::config) fn always_disagg_pd_decider(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::decider(|| AlwaysDecider))
}

pub(in crate::config) fn always_disagg_multimodal_decider(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::decider(|| MultimodalDecider))
}

pub(in crate::config) fn prefix_based_pd_decider(parameters: PrefixBasedParameters) -> Result<Blueprint> {
    Ok(Blueprint::decider(move || PrefixBasedDecider::from(parameters.clone())))
}

/// The parameters of `disagg-headers-handler` and of its older name.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[derive(Default)]
pub(in crate::config) struct StageHeadersParameters {
    #[serde(rename = "prefillProfile")]
    _prefill_profile: Option<String>,
    #[serde(rename = "encodeProfile")]
    _encode_profile: Option<String>,
}

/// The profile handler says itself where stages are done.
pub(in crate::config) fn disagg_headers_handler(_: StageHeadersParameters) -> Result<Blueprint> {
    Ok(Blueprint::Nothing)
}
