//! Screeners, from their parameters.

use super::{Blueprint, Fault, Result};
use crate::filter::LabelSelector;
use crate::screener::{Gating, GatingMode, HeaderSelector, RolloutParameters, RolloutScreener, RolloutSettings};

pub(in crate::config) fn disaggregatedset_rollout_screener(parameters: RolloutParameters) -> Result<Blueprint> {
    let scope = scope(&parameters.scope.label_selector).map_err(|fault| fault.along(&["scope", "labelSelector"]))?;
    let selectors = parameters.header_selectors;
    known_selectors(&selectors).map_err(|fault| fault.within("headerSelectors"))?;
    let gating = Gating::from(parameters.revision_gating);
    known_roles(&gating).map_err(|fault| fault.along(&["revisionGating", "requireRoles"]))?;
    let settings = RolloutSettings { scope, selectors, gating };
    Ok(Blueprint::screener(move || RolloutScreener::new(settings.clone())))
}

fn scope(text: &str) -> Result<LabelSelector> {
    if text.trim().is_empty() {
        return Err(Fault::invalid("nothing where a label selector like `app=vllm` was expected"));
    }
    text.parse().map_err(|error: llmd_core::Error| Fault::invalid(error.to_string()))
}

fn known_selectors(selectors: &[HeaderSelector]) -> Result<()> {
    for (place, HeaderSelector { name, header_name, label_key, .. }) in selectors.iter().enumerate() {
        let before = &selectors[..place];
        let empty = [("name", name), ("headerName", header_name), ("labelKey", label_key)];
        let fault = if let Some((field, _)) = empty.into_iter().find(|(_, value)| value.is_empty()) {
            Fault::invalid("nothing where a name was expected").within(field)
        } else if before.iter().any(|other| other.name == *name) {
            Fault::invalid(format!("two selectors are called `{name}`")).within("name")
        } else if before.iter().any(|other| other.header_name.eq_ignore_ascii_case(header_name)) {
            Fault::invalid(format!("two selectors are by header `{header_name}`")).within("headerName")
        } else {
            continue;
        };
        return Err(fault.within_item(place));
    }
    Ok(())
}

fn known_roles(gating: &Gating) -> Result<()> {
    let roles = &gating.roles;
    if roles.is_empty() && gating.mode != GatingMode::Disabled {
        return Err(Fault::invalid("no role in `values` where at least one was expected"));
    }
    let fault = |place: usize| {
        let role = &roles[place];
        if role.is_empty() {
            Some(Fault::invalid("nothing where a role was expected"))
        } else {
            roles[..place].contains(role).then(|| Fault::invalid(format!("role `{role}` is given twice")))
        }
    };
    let fault = (0..roles.len()).find_map(|place| fault(place).map(|fault| fault.within_item(place).within("values")));
    fault.map_or(Ok(()), Err)
}
