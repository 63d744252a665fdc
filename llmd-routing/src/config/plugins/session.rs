//! What the session plugins have in common.

use super::{Fault, Result};
use crate::session::{self, SourceConfig};

/// Refuses what cannot be meant.
pub(super) fn known_session(parameters: &session::Parameters) -> Result<()> {
    let config = &parameters.session_id_config;
    known_sources(&config.sources).map_err(|fault| fault.within("sessionIdConfig"))?;
    let times =
        [("evictionTtlSeconds", config.eviction_ttl_seconds), ("evictionSweepSeconds", config.eviction_sweep_seconds)];
    for (field, seconds) in times {
        super::not_negative(seconds, field).map_err(|fault| fault.within("sessionIdConfig"))?;
    }
    let config = &parameters.session_hash_config;
    if config.header.is_some() && !config.sources.is_empty() {
        let fault = Fault::invalid("`header` and `sources` are given where one of them was expected");
        return Err(fault.within("sessionHashConfig"));
    }
    known_sources(&config.sources).map_err(|fault| fault.within("sessionHashConfig"))
}

fn known_sources(sources: &[SourceConfig]) -> Result<()> {
    match sources.iter().position(|source| !source.is_one()) {
        Some(place) => {
            let fault = Fault::invalid("exactly one of `header` and `attribute` was expected");
            Err(fault.within_item(place).within("sources"))
        }
        None => Ok(()),
    }
}
