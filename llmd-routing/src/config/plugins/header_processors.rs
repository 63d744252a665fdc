//! Header processors, from their parameters.

use super::{Blueprint, Result};
use crate::header_processor::{AgentIdentity, AgentIdentityParameters};

pub(in crate::config) fn agent_identity(parameters: AgentIdentityParameters) -> Result<Blueprint> {
    let AgentIdentityParameters { additional_session_headers: headers } = parameters;
    Ok(Blueprint::header_processor(move || AgentIdentity::new(&headers)))
}
