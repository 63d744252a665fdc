//! `offloading`: the decoder reads what the prefiller has put into its CPU tier.

use llmd_core::Result;

use super::address::Address;
use super::body::Body;
use super::p2p::P2p;
use super::single_token::{Limits, single_token};
use super::{Connector, Decode, Handover, KvSource, Leg, Order, Original};

/// vLLM's offloading connector, peer to peer: both stages are told the same `kv_request_id`, under which the prefiller
/// stores and the decoder fetches.
///
/// Rules: llm-d's `offloading`. Prefill comes first: a decoder that starts with it waits up to 30 s for blocks that are not
/// there, and llm-d went back to one after the other (15.8 s of delay in the mean, 2 ms since).
#[derive(Clone, Copy, Debug, Default)]
pub struct Offloading {
    p2p: P2p,
    concurrent: bool,
}

impl Offloading {
    /// Prefill, then decode, over peers that serve their CPU tiers there.
    pub const fn new(p2p: P2p) -> Self {
        Self { p2p, concurrent: false }
    }

    /// The same, with both stages at once.
    #[must_use]
    pub const fn concurrent(self) -> Self {
        Self { concurrent: true, ..self }
    }
}

impl Connector for Offloading {
    fn name(&self) -> &'static str {
        "offloading"
    }

    fn order(&self, _: &Original<'_>) -> Order {
        if self.concurrent { Order::Concurrent } else { Order::Sequential }
    }

    fn alone<'a>(&self, original: &Original<'a>, endpoint: &str, source: Option<KvSource<'_>>) -> Leg<'a> {
        match source.and_then(|source| self.p2p.params(source, Address::of(endpoint))) {
            Some(params) => original.with_params(&params),
            None => original.as_is(),
        }
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        let prefiller = Address::of(handover.prefiller);
        let decoder = Body::default().with("kv_request_id", handover.request_id);
        let mut params = Body::default().with_object("remote_decoder", &decoder);
        let pull = handover.kv_source.and_then(|source| self.p2p.params(source, prefiller));
        params.extend(pull.unwrap_or_default());
        let mut leg = original.with_params(&params);
        single_token(&mut leg.body, original.api(), Limits::Said)?;
        Ok(leg)
    }

    fn decode<'a>(&self, original: &Original<'a>, handover: &Handover<'_>, _: Option<&'a [u8]>) -> Result<Decode<'a>> {
        let peer = self.p2p.peer(handover.request_id, Address::of(handover.prefiller));
        let params = Body::default().with_object("remote_prefiller", &peer);
        Ok(Decode::handed(original.with_params(&params)))
    }
}
