//! `kv-nixl`, `kv-sglang`, `kv-shared-storage`: the connectors of llm-d's coordinator, whose engines stand behind one gateway.

use llmd_core::Result;
use llmd_core::protocol::{DO_REMOTE_DECODE, DO_REMOTE_PREFILL};

use super::answer::{self, Answer};
use super::body::Body;
use super::nixlv2::asked;
use super::single_token::{Limits, single_token};
use super::{Connector, Decode, Handover, Kv, Leg, Original, PrefillResponse, REQUEST_ID_HEADER, SgLang};

/// As [`NixlV2`](super::NixlV2), with decode's two flags set whatever the prefiller answers.
///
/// Rules: llm-d's coordinator, `kv-nixl`; where it sends the flags alone because nothing was answered, this sends `null`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct KvNixl;

/// As [`SgLang`], one stage after the other: the prefiller is told the port and the room, a text, and says the rest.
///
/// Rules: llm-d's coordinator, `kv-sglang`.
#[derive(Clone, Copy, Debug)]
pub struct KvSgLang {
    port: u16,
}

/// Shared storage, with flags that say which stage it is.
///
/// Rules: llm-d's coordinator, `kv-shared-storage`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct KvSharedStorage;

impl KvSgLang {
    /// With bootstrap servers at this port.
    pub const fn at(port: u16) -> Self {
        Self { port }
    }
}

impl Default for KvSgLang {
    fn default() -> Self {
        Self::at(SgLang::PORT)
    }
}

impl Connector for KvNixl {
    fn name(&self) -> &'static str {
        "kv-nixl"
    }

    fn prefill_response(&self) -> PrefillResponse {
        PrefillResponse::Copied
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        prefill(original, handover, &asked())
    }

    fn decode<'a>(
        &self,
        original: &Original<'a>,
        handover: &Handover<'_>,
        response: Option<&'a [u8]>,
    ) -> Result<Decode<'a>> {
        decode_as_answered(self.name(), original, handover, response)
    }
}

impl Connector for KvSgLang {
    fn name(&self) -> &'static str {
        "kv-sglang"
    }

    fn prefill_response(&self) -> PrefillResponse {
        PrefillResponse::Copied
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        let params =
            flags(Stage::Prefill).with("bootstrap_port", self.port).with("bootstrap_room", handover.request_id);
        prefill(original, handover, &params)
    }

    fn decode<'a>(
        &self,
        original: &Original<'a>,
        handover: &Handover<'_>,
        response: Option<&'a [u8]>,
    ) -> Result<Decode<'a>> {
        decode_as_answered(self.name(), original, handover, response)
    }
}

impl Connector for KvSharedStorage {
    fn name(&self) -> &'static str {
        "kv-shared-storage"
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        prefill(original, handover, &flags(Stage::Prefill))
    }

    fn decode<'a>(&self, original: &Original<'a>, handover: &Handover<'_>, _: Option<&'a [u8]>) -> Result<Decode<'a>> {
        let leg = original.with_params(&flags(Stage::Decode));
        Ok(Decode::handed(leg.with_header(REQUEST_ID_HEADER, handover.request_id)))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Decode,
    Prefill,
}

fn flags(stage: Stage) -> Body<'static> {
    Body::default().with(DO_REMOTE_DECODE, stage == Stage::Prefill).with(DO_REMOTE_PREFILL, stage == Stage::Decode)
}

fn prefill<'a>(original: &Original<'a>, handover: &Handover<'_>, params: &Body<'_>) -> Result<Leg<'a>> {
    let mut leg = original.with_params(params).with_header(REQUEST_ID_HEADER, handover.request_id);
    single_token(&mut leg.body, original.api(), Limits::Said)?;
    Ok(leg)
}

/// What the prefiller has answered, with the flags of a decode.
fn decode_as_answered<'a>(
    connector: &str,
    original: &Original<'a>,
    handover: &Handover<'_>,
    response: Option<&'a [u8]>,
) -> Result<Decode<'a>> {
    let answered = Answer::read(connector, response)?.into_params()?;
    let kv = if answered.is_some() { Kv::Handed } else { Kv::Recomputed };
    let leg = match &answered {
        Some(answered) => {
            let mut params = answer::fields(answered);
            params.extend(flags(Stage::Decode));
            original.with_params(&params)
        }
        None => original.with_raw_params(answer::nothing()),
    };
    Ok(Decode { kv, ..Decode::handed(leg.with_header(REQUEST_ID_HEADER, handover.request_id)) })
}
