//! Filters, from their parameters.

use super::session::known_session;
use super::{Blueprint, NoParameters, Result};
use crate::filter::{LabelSelector, LabelSelectorFilter, RoleFilter, SessionAffinityFilter};
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
