//! What a client asks, without what it must not set.

use std::borrow::Cow;

use llmd_core::protocol::{EC_TRANSFER_PARAMS, KV_TRANSFER_PARAMS};
use llmd_core::{ErrorKind, Result};
use serde_json::value::RawValue;

use super::body::Body;
use super::fault::{is_null, wrong};
use super::{Api, Leg};

/// By these fields engines are told whom to talk to. A client that could set them could name another tenant's blocks, or
/// any host that the engine reaches.
const RESERVED: [&str; 5] =
    [KV_TRANSFER_PARAMS, EC_TRANSFER_PARAMS, "bootstrap_host", "bootstrap_port", "bootstrap_room"];

/// Objects whose fields vLLM lays over a request's.
const SIDE_DOORS: [&[&str]; 2] = [&["vllm_xargs"], &["sampling_params", "extra_args"]];

/// What becomes of the fields that a client must not set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientParams {
    /// They are removed.
    #[default]
    Removed,
    /// They stay, for clients that are trusted; a connector's own `kv_transfer_params` are laid over the client's.
    Kept,
}

/// What a client asks: the API, and the body without what clients must not set.
#[derive(Clone, Debug)]
pub struct Original<'a> {
    api: Api,
    body: Body<'a>,
    /// The client's `kv_transfer_params`, when it is trusted.
    params: Option<Body<'a>>,
    encoded: bool,
}

impl<'a> Original<'a> {
    /// Reads what a client has sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is no JSON object, or a trusted client's `kv_transfer_params` are none.
    pub fn parse(api: Api, bytes: &'a [u8], client: ClientParams) -> Result<Self> {
        let mut body = Body::parse(bytes)?;
        let params = match client {
            ClientParams::Removed => {
                remove_reserved(&mut body);
                None
            }
            ClientParams::Kept => take_params(&mut body)?,
        };
        Ok(Self { api, body, params, encoded: false })
    }

    /// Which API it is a request to.
    pub const fn api(&self) -> Api {
        self.api
    }

    /// The body.
    pub const fn body(&self) -> &Body<'a> {
        &self.body
    }

    /// Whether an encoder has seen its items.
    pub(super) const fn is_encoded(&self) -> bool {
        self.encoded
    }

    /// The same, with another body, after encoders have seen its items.
    pub(super) fn encoded(&self, body: Body<'a>) -> Self {
        Self { body, encoded: true, ..self.clone() }
    }

    /// The request as it is, for a stage that needs nothing else.
    pub fn as_is(&self) -> Leg<'a> {
        let mut body = self.body.clone();
        if let Some(params) = &self.params {
            body.set(KV_TRANSFER_PARAMS, Cow::Owned(params.to_raw()));
        }
        Leg::new(body)
    }

    /// The request with these `kv_transfer_params`.
    pub fn with_params(&self, params: &Body<'_>) -> Leg<'a> {
        self.with_raw_params(Cow::Owned(params.to_raw()))
    }

    /// The request with these `kv_transfer_params`, as they were written.
    pub(super) fn with_raw_params(&self, raw: Cow<'a, RawValue>) -> Leg<'a> {
        let mut leg = self.as_is();
        let over = self.params.as_ref().and_then(|params| {
            let mut all = params.clone();
            let raw = Body::of(&raw)?;
            all.extend(raw);
            Some(all.to_raw())
        });
        // A trusted client's own stay where the connector has none.
        if over.is_none() && self.params.is_some() && is_null(&raw) {
            return leg;
        }
        leg.body.set(KV_TRANSFER_PARAMS, over.map_or(raw, Cow::Owned));
        leg
    }
}

fn remove_reserved(body: &mut Body<'_>) {
    body.remove(&RESERVED);
    for door in SIDE_DOORS {
        remove_behind(body, door);
    }
}

/// Takes out what is reserved from the object at the end of this path, and says whether anything was there.
fn remove_behind(body: &mut Body<'_>, path: &[&str]) -> bool {
    let Some((field, deeper)) = path.split_first() else { return body.remove(&RESERVED) };
    let mut changed = false;
    for value in body.all_mut(field) {
        let Some(mut object) = Body::of(value) else { continue };
        if remove_behind(&mut object, deeper) {
            let clean = object.to_raw();
            *value = Cow::Owned(clean);
            changed = true;
        }
    }
    changed
}

/// Takes out the `kv_transfer_params` of a client that is trusted.
fn take_params<'a>(body: &mut Body<'a>) -> Result<Option<Body<'a>>> {
    let Some(value) = body.take(KV_TRANSFER_PARAMS) else { return Ok(None) };
    if is_null(&value) {
        return Ok(None);
    }
    let params = match &value {
        Cow::Borrowed(raw) => Body::of(raw),
        Cow::Owned(_) => None,
    };
    params.map(Some).ok_or_else(|| wrong(ErrorKind::Invalid, KV_TRANSFER_PARAMS, &value, "an object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(body: &str, client: ClientParams, params: &str) -> String {
        let original = Original::parse(Api::ChatCompletions, body.as_bytes(), client);
        let raw: &RawValue = serde_json::from_str(params).unwrap();
        original.map_or_else(
            |error| error.to_string(),
            |original| original.with_raw_params(Cow::Borrowed(raw)).body.to_json(),
        )
    }

    #[test]
    fn what_a_client_must_not_set_is_removed_by_every_door() {
        let body = r#"{"model":"m","kv_transfer_params":{"remote_host":"x"},"kv\u005ftransfer_params":1,"bootstrap_host":"x",
            "ec_transfer_params":{},"vllm_xargs":{"a":1,"kv_transfer_params":{}},
            "sampling_params":{"n":1,"extra_args":{"kv_transfer_params":1},"extra_args":{"b":1e-7,"ec_transfer_params":2}}}"#;

        assert_eq!(
            leg(body, ClientParams::Removed, r#"{"ours": 1}"#),
            r#"{"model":"m","vllm_xargs":{"a":1},"sampling_params":{"n":1,"extra_args":{},"extra_args":{"b":1e-7}},"kv_transfer_params":{"ours": 1}}"#
        );
    }

    #[test]
    fn of_a_client_that_is_trusted_ours_are_laid_over_its_own() {
        let kept = |body| leg(body, ClientParams::Kept, r#"{"a": 2, "b": 3}"#);
        assert_eq!(kept(r#"{"kv_transfer_params":{"c":1,"a":1}}"#), r#"{"kv_transfer_params":{"c":1,"a":2,"b":3}}"#);
        assert_eq!(kept(r#"{"kv_transfer_params":null}"#), r#"{"kv_transfer_params":{"a": 2, "b": 3}}"#);
        assert_eq!(kept(r#"{"kv_transfer_params":"x"}"#), "kv_transfer_params \"x\": expected an object");
        assert_eq!(
            leg(r#"{"kv_transfer_params":{"c":1}}"#, ClientParams::Kept, "null"),
            r#"{"kv_transfer_params":{"c":1}}"#
        );
        assert_eq!(leg("{}", ClientParams::Removed, "null"), r#"{"kv_transfer_params":null}"#);
    }
}
