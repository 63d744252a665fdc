//! Producers, from their parameters.

use super::{Blueprint, DEFAULT_PREFIX_PRODUCER, Fault, Result, from_0_to_1};
use crate::config::kv_events::{Precise, PreciseParameters};
use crate::config::tokens::{TokenParameters, TokenProducer};
use crate::producer::{
    ApproxParameters, ApproxPrefixCache, ApproxSettings, InFlightLoadParameters, MmEmbeddingsCache,
    MmEmbeddingsCacheParameters, P2pSource, P2pSourceParameters, SessionIdParameters, SessionIdProducer,
    TrustedParameters, TrustedPrefixCache,
};

pub(in crate::config) fn inflight_load_producer(parameters: InFlightLoadParameters) -> Result<Blueprint> {
    Ok(Blueprint::InFlight(parameters.into()))
}

pub(in crate::config) fn approx_prefix_cache_producer(parameters: ApproxParameters) -> Result<Blueprint> {
    let settings = ApproxSettings::from(parameters);
    Ok(Blueprint::prefix_producer(move |name| ApproxPrefixCache::new(name, settings.clone())))
}

pub(in crate::config) fn mm_embeddings_cache_producer(parameters: MmEmbeddingsCacheParameters) -> Result<Blueprint> {
    let items = parameters.items();
    Ok(Blueprint::producer(move |name| MmEmbeddingsCache::new(name, items)))
}

/// It makes nothing that others read.
pub(in crate::config) fn p2p_source_producer(parameters: P2pSourceParameters) -> Result<Blueprint> {
    let min_delta = parameters.min_cached_token_delta;
    if min_delta == 0 {
        return Err(Fault::invalid("0 where at least 1 was expected").within("minCachedTokenDelta"));
    }
    let producer = parameters.prefix_match_info_producer_name.filter(|name| !name.is_empty());
    let producer = producer.unwrap_or_else(|| DEFAULT_PREFIX_PRODUCER.to_owned());
    Ok(Blueprint::observer(move || P2pSource::new(producer.clone(), min_delta)))
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

/// llmd's own.
pub(in crate::config) fn trusted_prefix_cache_producer(parameters: TrustedParameters) -> Result<Blueprint> {
    from_0_to_1(parameters.remembered_weight, "rememberedWeight")?;
    Ok(Blueprint::prefix_producer(move |name| TrustedPrefixCache::with(name.into(), parameters.clone())))
}
