//! Reading an object without taking its values apart.

use std::borrow::Cow;
use std::fmt;

use llmd_core::{Error, ErrorKind, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Body;

impl<'a> Body<'a> {
    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is no JSON object.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        Self::read(bytes, "the request's body", ErrorKind::Invalid)
    }

    /// Reads what another has sent; `what` it is stands in the error, which is of this kind.
    pub(in crate::connector) fn read(bytes: &'a [u8], what: &str, kind: ErrorKind) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::new(kind, format!("{what} cannot be read: {error}")))
    }

    /// The object that `raw` is. `None` when it is something else.
    pub(in crate::connector) fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, Cow::Borrowed(value)));
                }
                Ok(Body { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A field's name, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_costs_no_stack() {
        let deep = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
        let text = format!(r#"{{"a":{deep}}}"#);
        assert!(Body::parse(text.as_bytes()).unwrap().to_json() == text);
    }

    #[test]
    fn a_body_that_is_no_object_is_refused_by_what_it_is() {
        let table = [
            ("[1]", "invalid type: sequence, expected a JSON object at line 1 column 0"),
            ("\"text\"", "invalid type: string \"text\", expected a JSON object at line 1 column 6"),
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{} x", "trailing characters at line 1 column 4"),
        ];
        for (body, reason) in table {
            let error = Body::parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.to_string(), format!("the request's body cannot be read: {reason}"));
        }
    }
}
