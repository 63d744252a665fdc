//! Filters: who may be chosen.

mod label_selector;
mod role;
mod session_affinity;

pub use label_selector::{LabelSelector, LabelSelectorFilter, Requirement};
pub use role::RoleFilter;
pub use session_affinity::SessionAffinityFilter;
