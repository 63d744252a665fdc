//! Observers: what follows requests and decides nothing.

mod cel;
mod request_attribute_reporter;
mod served_endpoint;

pub use cel::{Expression, Kind};
pub(crate) use request_attribute_reporter::{AttributeConfig, Parameters as ReporterParameters};
pub use request_attribute_reporter::{ReportedAttribute, RequestAttributeReporter};
pub use served_endpoint::DestinationEndpointServedVerifier;
