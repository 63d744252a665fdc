//! Header processors: what a request's headers say, before anything else is read.

mod agent_identity;

pub(crate) use agent_identity::Parameters as AgentIdentityParameters;
pub use agent_identity::{AGENT_IDENTITY, AgentIdentity};
