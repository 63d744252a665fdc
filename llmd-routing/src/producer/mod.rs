//! Producers: what is found out about a request before its endpoints are scored.

mod approx_prefix_cache;
mod explained;
mod inflight_load;
mod lru;
mod mm_embeddings_cache;
mod p2p_source;
mod precise_prefix_cache;
mod session_id;
mod speculative;
mod sweep;
mod tier_weights;
mod trusted_prefix_cache;

pub(crate) use approx_prefix_cache::Parameters as ApproxParameters;
pub use approx_prefix_cache::{ApproxPrefixCache, ApproxSettings};
pub(crate) use inflight_load::Parameters as InFlightLoadParameters;
pub use inflight_load::{InFlightLoad, OutputEstimate, Reservation, Reserve};
use llmd_core::Medium;
use llmd_core::hash::Chain;
use llmd_core::index::WorkerState;
pub use mm_embeddings_cache::MmEmbeddingsCache;
pub(crate) use mm_embeddings_cache::Parameters as MmEmbeddingsCacheParameters;
pub use p2p_source::P2pSource;
pub(crate) use p2p_source::Parameters as P2pSourceParameters;
pub use precise_prefix_cache::PrecisePrefixCache;
pub(crate) use session_id::Parameters as SessionIdParameters;
pub use session_id::{SessionIdProducer, SessionIdSource};
pub use tier_weights::TierWeights;
pub(crate) use trusted_prefix_cache::Parameters as TrustedParameters;
pub use trusted_prefix_cache::TrustedPrefixCache;

use crate::plugin::PrefixMatch;

/// A match of the first `leading` blocks of a chain, which count as `blocks`.
#[inline]
fn prefix_match(chain: &Chain, leading: u32, blocks: u32, state: WorkerState) -> PrefixMatch {
    PrefixMatch {
        blocks,
        cached: leading,
        speculative: 0,
        total: chain.blocks().len() as u32,
        block_size: chain.block_size() as u32,
        hit_tokens: chain.hit_tokens(leading as usize) as u32,
        remembered_tokens: 0,
        by_medium: [0; Medium::ALL.len()],
        state,
    }
}
