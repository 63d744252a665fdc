//! `llmd`: the prefiller answers with a grant, and the decoder fetches by it.

use llmd_core::protocol::{CONNECTOR, DO_REMOTE_DECODE, DO_REMOTE_PREFILL, GRANT, LLMD};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use super::body::Body;
use super::fault::wrong;
use super::single_token::{Limits, single_token};
use super::usage::cached_tokens;
use super::{Connector, Decode, Handover, Kv, Leg, Original, PrefillResponse, REQUEST_ID_HEADER};

/// At most how many bytes a grant has, as it is written in JSON. A longer one is refused.
pub const MAX_GRANT: usize = 64 << 10;

/// llmd's own: what the prefiller answers goes to the decoder as it is. A router looks at whose it is, and that there is a
/// grant; what the grant says is between the engines.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Llmd;

impl Connector for Llmd {
    fn name(&self) -> &'static str {
        LLMD
    }

    fn prefill_response(&self) -> PrefillResponse {
        PrefillResponse::Copied
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        let asked = Body::default().with(CONNECTOR, LLMD).with(DO_REMOTE_DECODE, true).with(DO_REMOTE_PREFILL, false);
        let mut leg = original.with_params(&asked).with_header(REQUEST_ID_HEADER, handover.request_id);
        single_token(&mut leg.body, original.api(), Limits::Said)?;
        Ok(leg)
    }

    fn decode<'a>(
        &self,
        original: &Original<'a>,
        handover: &Handover<'_>,
        response: Option<&'a [u8]>,
    ) -> Result<Decode<'a>> {
        let answer = Answer::read(LLMD, response)?;
        let cached_tokens = cached_tokens(original.api(), answer.body());
        let params = answer.into_params()?;
        params.as_ref().map_or(Ok(()), |params| check(&answer::fields(params)))?;
        let kv = if params.is_some() { Kv::Handed } else { Kv::Recomputed };
        let leg = original.with_raw_params(params.unwrap_or_else(answer::nothing));
        Ok(Decode { leg: leg.with_header(REQUEST_ID_HEADER, handover.request_id), kv, cached_tokens })
    }
}

/// Whether a decoder can make something of these.
fn check(params: &Body<'_>) -> Result<()> {
    let field = |name| params.get(name).unwrap_or(RawValue::NULL);
    let is = |name, wanted: &str| field(name).get() == wanted;
    if params.text(CONNECTOR).as_deref() != Some(LLMD) {
        return Err(wrong(ErrorKind::Corrupt, CONNECTOR, field(CONNECTOR), "\"llmd\""));
    }
    if !is(DO_REMOTE_PREFILL, "true") {
        return Err(wrong(ErrorKind::Corrupt, DO_REMOTE_PREFILL, field(DO_REMOTE_PREFILL), "true"));
    }
    if params.text(GRANT).is_none_or(|grant| grant.is_empty()) {
        return Err(wrong(ErrorKind::Corrupt, GRANT, field(GRANT), "a text that is not empty"));
    }
    let length = field(GRANT).get().len();
    if length > MAX_GRANT {
        return Err(Error::new(ErrorKind::Corrupt, format!("a grant of {length} bytes: expected at most {MAX_GRANT}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Api, ClientParams};

    fn decoded(params: &str) -> String {
        let original = Original::parse(Api::Completions, b"{}", ClientParams::Removed).unwrap();
        let response = format!("{{\"kv_transfer_params\":{params}}}");
        let decode = Llmd.decode(&original, &Handover::new("id", "h:8000"), Some(response.as_bytes()));
        decode.map_or_else(|error| error.to_string(), |decode| decode.leg.body.to_json())
    }

    #[test]
    fn only_a_grant_of_ours_goes_to_the_decoder() {
        let granted = r#"{"connector":"llmd","do_remote_prefill":true,"grant":"AQID","tomorrow": 1e-7}"#;
        assert_eq!(decoded(granted), format!("{{\"kv_transfer_params\":{granted}}}"));
        assert_eq!(decoded("null"), r#"{"kv_transfer_params":null}"#);
        assert_eq!(decoded(r#"{"connector":"nixl"}"#), r#"connector "nixl": expected "llmd""#);
        assert_eq!(decoded(r#"{"connector":"llmd"}"#), "do_remote_prefill null: expected true");
        let with =
            |grant: &str| decoded(&format!(r#"{{"connector":"llmd","do_remote_prefill":true,"grant":{grant}}}"#));
        assert_eq!(with("7"), "grant 7: expected a text that is not empty");
        assert_eq!(with(r#""""#), r#"grant "": expected a text that is not empty"#);
        let long = format!("\"{}\"", "A".repeat(MAX_GRANT - 1));
        assert_eq!(with(&long), "a grant of 65537 bytes: expected at most 65536");
    }
}
