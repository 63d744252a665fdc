//! Section `flowControl`: how requests wait, and for how long.

use std::time::Duration;

use serde::Deserialize;

use super::fault::{Fault, Result};
use super::known::Known;
use super::node::Node;
use super::quantity::Quantity;
use crate::duration::GoDuration;

/// What the section `flowControl` says. Nothing of it counts while feature gate `flowControl` is off, but for the detector
/// of saturation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct FlowControl {
    /// At most how many bytes wait; `None` for any number.
    pub max_bytes: Option<u64>,
    /// At most how many requests wait; `None` for any number.
    pub max_requests: Option<u64>,
    /// How long a request waits; `None` where it is not said.
    pub default_request_ttl: Option<Duration>,
    /// How long it waits while there is no endpoint; `None` where it is not said.
    pub no_endpoint_request_ttl: Option<Duration>,
    /// The band of priorities that have none of their own.
    pub default_priority_band: Option<PriorityBand>,
    /// The same, of priorities below 0.
    pub default_negative_priority_band: Option<PriorityBand>,
    /// The bands of priorities.
    pub priority_bands: Vec<PriorityBand>,
    /// The name of the policy that says how full the pool may be.
    pub usage_limit_policy: Option<String>,
    /// The name of the plugin that says how full it is.
    pub saturation_detector: Option<String>,
    /// Whether requests that run give way to more important ones.
    pub enable_eviction: bool,
}

/// The requests of one priority, while they wait.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PriorityBand {
    /// The priority; the higher, the sooner.
    pub priority: i64,
    /// At most how many bytes wait; `None` for llm-d's default of 1 GB.
    pub max_bytes: Option<u64>,
    /// At most how many requests wait; `None` for llm-d's default of 5000.
    pub max_requests: Option<u64>,
    /// The name of the policy between flows.
    pub fairness_policy: Option<String>,
    /// The name of the policy within a flow.
    pub ordering_policy: Option<String>,
}

/// The section, as it is written.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Section {
    max_bytes: Option<Quantity>,
    max_requests: Option<Quantity>,
    #[serde(rename = "defaultRequestTTL")]
    default_request_ttl: Option<GoDuration>,
    #[serde(rename = "noEndpointRequestTTL")]
    no_endpoint_request_ttl: Option<GoDuration>,
    default_priority_band: Option<Band>,
    default_negative_priority_band: Option<Band>,
    #[serde(rename = "priorityBands")]
    _priority_bands: Option<Vec<Band>>,
    usage_limit_policy_plugin_ref: Option<String>,
    saturation_detector: Option<Detector>,
    enable_eviction: bool,
}

#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Band {
    priority: i64,
    max_bytes: Option<Quantity>,
    max_requests: Option<Quantity>,
    fairness_policy_ref: Option<String>,
    ordering_policy_ref: Option<String>,
}

/// A reference to a detector of saturation.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Detector {
    plugin_ref: Option<String>,
}

const DETECTORS: Family = Family {
    what: "detector of saturation",
    types: &["concurrency-detector", "utilization-detector"],
    default: "utilization-detector",
};
const FAIRNESS: Family = Family {
    what: "fairness policy",
    types: &["global-strict-fairness-policy", "program-aware-fairness", "round-robin-fairness-policy"],
    default: "global-strict-fairness-policy",
};
const ORDERING: Family = Family {
    what: "ordering policy",
    types: &["edf-ordering-policy", "fcfs-ordering-policy", "slo-deadline-ordering-policy"],
    default: "fcfs-ordering-policy",
};
const USAGE_LIMIT: Family = Family {
    what: "usage limit policy",
    types: &["priority-holdback-policy", "soft-reflective-ceiling-policy", "static-usage-limit-policy"],
    default: "static-usage-limit-policy",
};

/// Plugin types of which one is taken.
struct Family {
    what: &'static str,
    types: &'static [&'static str],
    /// It is there without being configured.
    default: &'static str,
}

impl FlowControl {
    pub(super) fn read(node: &Node, known: &Known) -> Result<Self> {
        let section: Section = node.typed()?;
        let bands = node.read("priorityBands", |list| list.each_at(|place, item| Ok((place, item.typed()?))))?;
        Self::new(section, bands.unwrap_or_default(), known).map_err(|fault| node.locate(fault))
    }

    fn new(section: Section, bands: Vec<(usize, Band)>, known: &Known) -> Result<Self> {
        let band = |field: &str, band: Option<Band>| {
            band.map(|band| PriorityBand::new(band, known)).transpose().map_err(|fault| fault.within(field))
        };
        let mut priority_bands: Vec<PriorityBand> = Vec::new();
        for (place, band) in bands {
            let priority = band.priority;
            let here = |fault: Fault| fault.within_item(place).within("priorityBands");
            if priority_bands.iter().any(|before| before.priority == priority) {
                return Err(here(Fault::invalid(format!("two bands have priority {priority}"))));
            }
            priority_bands.push(PriorityBand::new(band, known).map_err(here)?);
        }
        Ok(Self {
            max_bytes: limit(section.max_bytes),
            max_requests: limit(section.max_requests),
            default_request_ttl: section.default_request_ttl.map(|ttl| ttl.0),
            no_endpoint_request_ttl: section.no_endpoint_request_ttl.map(|ttl| ttl.0),
            default_priority_band: band("defaultPriorityBand", section.default_priority_band)?,
            default_negative_priority_band: band(
                "defaultNegativePriorityBand",
                section.default_negative_priority_band,
            )?,
            priority_bands,
            usage_limit_policy: USAGE_LIMIT
                .reference(section.usage_limit_policy_plugin_ref, known)
                .map_err(|fault| fault.within("usageLimitPolicyPluginRef"))?,
            saturation_detector: detector(section.saturation_detector, known)
                .map_err(|fault| fault.within("saturationDetector"))?,
            enable_eviction: section.enable_eviction,
        })
    }

    /// Whether it says more than who detects saturation.
    pub(super) fn says_more(&self) -> bool {
        *self != Self { saturation_detector: self.saturation_detector.clone(), ..Self::default() }
    }
}

impl PriorityBand {
    fn new(band: Band, known: &Known) -> Result<Self> {
        Ok(Self {
            priority: band.priority,
            max_bytes: limit(band.max_bytes),
            max_requests: limit(band.max_requests),
            fairness_policy: FAIRNESS
                .reference(band.fairness_policy_ref, known)
                .map_err(|fault| fault.within("fairnessPolicyRef"))?,
            ordering_policy: ORDERING
                .reference(band.ordering_policy_ref, known)
                .map_err(|fault| fault.within("orderingPolicyRef"))?,
        })
    }
}

/// A 0 is as good as nothing.
fn limit(quantity: Option<Quantity>) -> Option<u64> {
    quantity.map(|Quantity(limit)| limit).filter(|limit| *limit > 0)
}

/// The detector that a section names.
pub(super) fn read_detector(node: &Node, known: &Known) -> Result<Option<String>> {
    detector(Some(node.typed()?), known).map_err(|fault| node.locate(fault))
}

/// A reference to none is one to the default.
fn detector(section: Option<Detector>, known: &Known) -> Result<Option<String>> {
    let Some(Detector { plugin_ref }) = section else { return Ok(None) };
    let name = plugin_ref.filter(|name| !name.is_empty()).unwrap_or_else(|| DETECTORS.default.to_owned());
    DETECTORS.reference(Some(name), known).map_err(|fault| fault.within("pluginRef"))
}

impl Family {
    /// The name of a plugin of this family.
    fn reference(&self, name: Option<String>, known: &Known) -> Result<Option<String>> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let plugin = match known.find(&name) {
            Ok(plugin) => plugin,
            Err(_) if name == self.default => return Ok(Some(name)),
            Err(fault) => return Err(fault),
        };
        if self.types.contains(&plugin.type_name) {
            return Ok(Some(name));
        }
        Err(Fault::invalid(format!("`{name}` where a {} was expected", self.what)))
    }
}
