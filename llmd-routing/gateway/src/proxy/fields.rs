//! The few fields of a request that the gateway looks at, without taking the rest apart.

use std::borrow::Cow;

use bytes::Bytes;
use llmd_core::protocol::KV_TRANSFER_PARAMS;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::answer::Refusal;

/// What the gateway reads of a request's body; everything else stays as the client wrote it.
#[derive(Debug, Deserialize)]
#[serde(expecting = "a JSON object")]
pub(crate) struct Fields<'a> {
    #[serde(borrow)]
    pub(crate) model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) messages: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<Cow<'a, str>>,
    /// What a client must not set.
    #[serde(borrow)]
    kv_transfer_params: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Reads a body. Refused when it is no JSON object, says a field twice, or a field has the wrong type.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        // serde would take a list for an object whose fields come in order.
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(Refusal::invalid(None, "the request's body is a list: expected a JSON object"));
        }
        serde_json::from_slice(body)
            .map_err(|error| Refusal::invalid(None, format!("the request's body cannot be read: {error}")))
    }

    /// At most how many tokens the client wants back; `None` too when what it says is no such number, which is for the
    /// engine to refuse.
    pub(crate) fn max_output_tokens(&self) -> Option<u32> {
        serde_json::from_str(self.max_completion_tokens.or(self.max_tokens)?.get()).ok()
    }

    /// Whether the body must be changed before it goes on.
    pub(crate) fn has_forbidden(&self) -> bool {
        self.kv_transfer_params.is_some()
    }
}

/// The same body without what clients must not set: every other field stays, in its place, byte for byte.
pub(crate) fn without_forbidden(body: &[u8]) -> Result<Bytes, Refusal> {
    let Object(fields) = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(None, format!("the request's body cannot be read: {error}")))?;
    let mut kept = Vec::with_capacity(body.len());
    for (name, value) in fields.iter().filter(|(name, _)| name != KV_TRANSFER_PARAMS) {
        kept.push(if kept.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut kept, name).expect("a string is written to memory");
        kept.push(b':');
        kept.extend_from_slice(value.get().as_bytes());
    }
    if kept.is_empty() {
        kept.push(b'{');
    }
    kept.push(b'}');
    Ok(kept.into())
}

/// An object's fields in their order, values untouched.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn refused(body: &str) -> String {
        let refusal = Fields::read(body.as_bytes()).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        format!("{refusal:?}")
    }

    #[test]
    fn only_the_fields_that_matter_are_read() {
        let body = br#"{"model": "m\u0031", "prompt": ["a", "b"], "stream": true, "x": {"y": [1]}, "max_tokens": 5}"#;
        let fields = Fields::read(body).unwrap();

        assert_eq!(fields.model.as_deref(), Some("m1"));
        assert_eq!(fields.prompt.map(RawValue::get), Some(r#"["a", "b"]"#));
        assert_eq!(fields.max_output_tokens(), Some(5));
        assert!(!fields.has_forbidden());
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let fields = Fields::read(br#"{"model": null, "max_tokens": null, "cache_salt": null}"#).unwrap();
        assert!(fields.model.is_none() && fields.max_output_tokens().is_none() && fields.cache_salt.is_none());
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        assert!(refused("").contains("EOF"));
        assert!(refused("[1]").contains("expected a JSON object"));
        assert!(refused(r#"{"model": 7}"#).contains("expected a string"));
        assert!(refused(r#"{"model": "a"} x"#).contains("trailing characters"));
    }

    #[test]
    fn a_field_that_is_said_twice_is_refused() {
        assert!(refused(r#"{"model": "a", "model": "b"}"#).contains("duplicate field `model`"));
        assert!(refused(r#"{"kv_transfer_params": 1, "kv_transfer_params": 2}"#).contains("duplicate field"));
    }

    #[test]
    fn what_clients_must_not_set_is_taken_out_and_the_rest_stays_byte_for_byte() {
        let table = [
            (r#"{"kv_transfer_params": {"a": [1, "}"]}, "model": "m",  "x": 1.50}"#, r#"{"model":"m","x":1.50}"#),
            (r#"{"model":"m","kv\u005ftransfer_params":{}}"#, r#"{"model":"m"}"#),
            (r#"{"kv_transfer_params": 7}"#, "{}"),
            (r#"{"a":{"kv_transfer_params":1},"kv_transfer_params":{}}"#, r#"{"a":{"kv_transfer_params":1}}"#),
        ];
        for (body, expected) in table {
            assert!(Fields::read(body.as_bytes()).unwrap().has_forbidden(), "{body}");
            assert_eq!(without_forbidden(body.as_bytes()).unwrap(), expected);
        }
    }
}
