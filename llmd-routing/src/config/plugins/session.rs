//! What the session plugins have in common.

use super::{Fault, Result};
use crate::session;

/// Refuses what llm-d knows sessions by and llmd does not.
pub(super) fn known_session(parameters: &session::Parameters) -> Result<()> {
    if parameters.profile_name.is_some() {
        let instead = "sessions of one profile are not there yet; leave it out";
        return Err(Fault::not_supported(instead).within("profileName"));
    }
    for (place, source) in parameters.session_id_config.sources.iter().enumerate() {
        let fault = if source.attribute.is_some() {
            Fault::not_supported("sessions are known by a header; use `header`").within("attribute")
        } else if place > 0 {
            Fault::unsupported("one source is taken")
        } else {
            continue;
        };
        return Err(fault.within_item(place).along(&["sessionIdConfig", "sources"]));
    }
    Ok(())
}
