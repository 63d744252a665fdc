//! Filters: who may be chosen.

mod label_selector;
mod prefix_cache_affinity;
mod role;
mod session_affinity;

pub use label_selector::{LabelSelector, LabelSelectorFilter, Requirement};
pub(crate) use prefix_cache_affinity::{Parameters as PrefixCacheAffinityParameters, TtftSourceName};
pub use prefix_cache_affinity::{PrefixCacheAffinityFilter, TtftSource};
pub use role::RoleFilter;
pub use session_affinity::SessionAffinityFilter;
