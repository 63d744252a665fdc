//! Producers, from their parameters.

use super::{Blueprint, Fault, Result};
use crate::config::kv_events::{Precise, PreciseParameters};
use crate::config::tokens::{TokenParameters, TokenProducer};
use crate::producer::{
    ApproxParameters, ApproxPrefixCache, ApproxSettings, InFlightLoadParameters, SessionIdParameters, SessionIdProducer,
};

pub(in crate::config) fn inflight_load_producer(parameters: InFlightLoadParameters) -> Result<Blueprint> {
    Ok(Blueprint::InFlight(parameters.into()))
}

pub(in crate::config) fn approx_prefix_cache_producer(parameters: ApproxParameters) -> Result<Blueprint> {
    let settings = ApproxSettings::from(parameters);
    Ok(Blueprint::prefix_producer(move |name| ApproxPrefixCache::new(name, settings.clone())))
}

pub(in crate::config) fn precise_prefix_cache_producer(parameters: PreciseParameters) -> Result<Blueprint> {
    Precise::new(parameters).map(Box::new).map(Blueprint::Precise)
}

pub(in crate::config) fn session_id_producer(parameters: SessionIdParameters) -> Result<Blueprint> {
    let Some(source) = parameters.source() else {
        return Err(Fault::invalid("exactly one of `headerName` and `cookieName` was expected"));
    };
    Ok(Blueprint::producer(move |name| SessionIdProducer::new(name, source.clone())))
}

pub(in crate::config) fn token_producer(parameters: TokenParameters) -> Result<Blueprint> {
    TokenProducer::new(parameters).map(Blueprint::Tokens)
}
