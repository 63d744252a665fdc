//! `nixlv2`: the prefiller says where its blocks are, and the decoder reads them.

use llmd_core::Result;
use llmd_core::protocol::{DO_REMOTE_DECODE, DO_REMOTE_PREFILL};
use serde_json::Value;

use super::address::Address;
use super::answer::{self, Answer};
use super::body::Body;
use super::moriio::MoriIo;
use super::p2p::P2p;
use super::single_token::{Limits, single_token};
use super::usage::cached_tokens;
use super::{
    Connector, Decode, Dispatch, Handover, Kv, KvSource, Leg, Order, Original, PrefillResponse, RANK_HEADER,
    REQUEST_ID_HEADER,
};

const NAME: &str = "nixlv2";

/// NIXL's two stages: what the prefiller answers goes to the decoder as it is. When it answers nothing, the decoder computes
/// the prompt itself.
///
/// Rules: llm-d's `nixlv2`. Both requests have the same `x-request-id`, by which vLLM's push mode pairs them.
#[derive(Clone, Debug, Default)]
pub struct NixlV2 {
    moriio: Option<MoriIo>,
    pull: Option<P2p>,
}

impl NixlV2 {
    /// The same, with MoRI-IO's write mode.
    #[must_use]
    pub fn with_moriio(self, moriio: MoriIo) -> Self {
        Self { moriio: Some(moriio), ..self }
    }

    /// The same, where the prefiller can also pull the beginning of a prompt: llm-d's `--enable-p2p-pull`.
    #[must_use]
    pub fn with_pull(self, pull: P2p) -> Self {
        Self { pull: Some(pull), ..self }
    }

    fn is_parallel(&self) -> bool {
        self.moriio.as_ref().is_some_and(|moriio| moriio.dispatch == Dispatch::Parallel)
    }
}

impl Connector for NixlV2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn order(&self, _: &Original<'_>) -> Order {
        if self.is_parallel() { Order::ConcurrentHeld } else { Order::Sequential }
    }

    fn prefill_response(&self) -> PrefillResponse {
        if self.is_parallel() { PrefillResponse::Discarded } else { PrefillResponse::Copied }
    }

    fn alone<'a>(&self, original: &Original<'a>, endpoint: &str, source: Option<KvSource<'_>>) -> Leg<'a> {
        match self.pull.as_ref().and_then(|pull| pull.params(source?, Address::of(endpoint))) {
            Some(params) => original.with_params(&params),
            None => original.as_is(),
        }
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        let mut params = match &self.moriio {
            None => asked(),
            Some(moriio) => moriio.asked(handover)?,
        };
        let pull =
            self.pull.as_ref().and_then(|pull| pull.params(handover.kv_source?, Address::of(handover.prefiller)));
        params.extend(pull.unwrap_or_default());
        let rank = self.moriio.as_ref().map_or(Ok(None), |moriio| moriio.header(handover))?;
        let mut leg = with_headers(original.with_params(&params), handover, rank);
        single_token(&mut leg.body, original.api(), Limits::All)?;
        Ok(leg)
    }

    fn decode<'a>(
        &self,
        original: &Original<'a>,
        handover: &Handover<'_>,
        response: Option<&'a [u8]>,
    ) -> Result<Decode<'a>> {
        if let Some(moriio) = self.moriio.as_ref().filter(|_| self.is_parallel()) {
            let params = moriio.foretold(handover)?;
            let leg = with_headers(original.with_params(&params), handover, moriio.header(handover)?);
            return Ok(Decode::handed(leg));
        }
        let answer = Answer::read(NAME, response)?;
        let cached_tokens = cached_tokens(original.api(), answer.body());
        let params = answer.into_params()?;
        let kv = if params.is_some() { Kv::Handed } else { Kv::Recomputed };
        let (leg, rank) = match (&self.moriio, params) {
            (None, Some(params)) => (original.with_raw_params(params), None),
            (None, None) => (original.with_raw_params(answer::nothing()), None),
            (Some(moriio), Some(params)) => {
                let (params, rank) = moriio.completed(answer::fields(&params), handover)?;
                (original.with_params(&params), rank)
            }
            (Some(moriio), None) => (original.with_raw_params(answer::nothing()), moriio.header(handover)?),
        };
        Ok(Decode { leg: with_headers(leg, handover, rank), kv, cached_tokens })
    }
}

/// What a prefiller is asked: to keep its blocks, and to say where they are.
pub(super) fn asked() -> Body<'static> {
    Body::default()
        .with(DO_REMOTE_DECODE, true)
        .with(DO_REMOTE_PREFILL, false)
        .with("remote_engine_id", Value::Null)
        .with("remote_block_ids", Value::Null)
        .with("remote_host", Value::Null)
        .with("remote_port", Value::Null)
}

fn with_headers<'a>(leg: Leg<'a>, handover: &Handover<'_>, rank: Option<u32>) -> Leg<'a> {
    let leg = leg.with_header(REQUEST_ID_HEADER, handover.request_id);
    match rank {
        Some(rank) => leg.with_header(RANK_HEADER, rank.to_string()),
        None => leg,
    }
}
