//! Filters: who may be chosen.

mod by_label;
mod concurrency_detector;
mod endpoint_attribute;
mod header_based_testing;
mod label_selector;
mod prefix_cache_affinity;
mod role;
mod saturation;
mod selector_text;
mod session_affinity;
mod slo_headroom_tier;
mod topology_affinity;
mod utilization;
mod utilization_detector;

pub use by_label::ByLabelFilter;
pub(crate) use by_label::Parameters as ByLabelParameters;
pub(crate) use concurrency_detector::Parameters as ConcurrencyParameters;
pub use concurrency_detector::{ConcurrencyDetector, ConcurrencyMode};
pub(crate) use endpoint_attribute::Parameters as EndpointAttributeParameters;
pub use endpoint_attribute::{EndpointAttributeFilter, OnMissing, Operator};
pub use header_based_testing::HeaderBasedTestingFilter;
pub use label_selector::{LabelSelector, LabelSelectorFilter, Requirement};
pub(crate) use prefix_cache_affinity::{Parameters as PrefixCacheAffinityParameters, TtftSourceName};
pub use prefix_cache_affinity::{PrefixCacheAffinityFilter, TtftSource};
pub use role::RoleFilter;
pub use session_affinity::SessionAffinityFilter;
pub(crate) use slo_headroom_tier::Parameters as SloHeadroomTierParameters;
pub use slo_headroom_tier::SloHeadroomTierFilter;
pub(crate) use topology_affinity::Parameters as TopologyAffinityParameters;
pub use topology_affinity::TopologyAffinityFilter;
pub(crate) use utilization::Parameters as UtilizationParameters;
pub use utilization::{Condition, Metric, UtilizationFilter};
pub(crate) use utilization_detector::Parameters as UtilizationDetectorParameters;
pub use utilization_detector::{Silent, UtilizationDetector};

use crate::plugin::{Candidate, Candidates};

/// Keeps those for which `keep` answers true; all of them when there is nobody such and `fall_back` says so.
fn retain_or_all<'a>(candidates: &mut Candidates<'a>, fall_back: bool, keep: impl Fn(&Candidate<'a>) -> bool) {
    if !fall_back || candidates.iter().any(|candidate| keep(&candidate)) {
        candidates.retain(|candidate| keep(&candidate));
    }
}
