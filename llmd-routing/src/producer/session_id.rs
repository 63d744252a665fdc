//! `session-id-producer`: which session a request belongs to, by a header or a cookie.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::plugin::{Attributes, Data, Hooks, Plugin, Producer};
use crate::session::attribute;
use crate::{Endpoint, Headers, Request};

/// Says which session a request belongs to, by a header or by a cookie.
///
/// Semantics: llm-d's `session-id-producer`. A cookie is also found where it stands in a second `cookie` header, as HTTP/2
/// sends them, and quotes around its value are not part of it.
#[derive(Clone, Debug)]
pub struct SessionIdProducer {
    attribute: String,
    source: SessionIdSource,
}

/// Where a session's id stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SessionIdSource {
    /// In the cookie of this name.
    Cookie(String),
    /// In the header of this name.
    Header(String),
}

/// The parameters of `session-id-producer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    header_name: Option<String>,
    cookie_name: Option<String>,
}

impl Parameters {
    /// The one source that they name; `None` when it is none or both.
    pub(crate) fn source(&self) -> Option<SessionIdSource> {
        let given = |name: &Option<String>| name.as_deref().map(str::trim).unwrap_or_default().to_owned();
        match (given(&self.header_name), given(&self.cookie_name)) {
            (header, cookie) if cookie.is_empty() && !header.is_empty() => Some(SessionIdSource::Header(header)),
            (header, cookie) if header.is_empty() && !cookie.is_empty() => Some(SessionIdSource::Cookie(cookie)),
            _ => None,
        }
    }
}

impl SessionIdProducer {
    /// A producer of this name.
    pub fn new(name: &str, source: SessionIdSource) -> Self {
        let source = match source {
            SessionIdSource::Header(header) => SessionIdSource::Header(header.to_ascii_lowercase()),
            cookie @ SessionIdSource::Cookie(_) => cookie,
        };
        Self { attribute: attribute::session_id(name), source }
    }
}

impl Plugin for SessionIdProducer {
    fn reads(&self) -> Vec<Data> {
        match &self.source {
            SessionIdSource::Cookie(_) => vec![Data::Cookies],
            SessionIdSource::Header(_) => Vec::new(),
        }
    }

    fn settings(&self) -> String {
        match &self.source {
            SessionIdSource::Cookie(name) => format!("by cookie {name}"),
            SessionIdSource::Header(name) => format!("by header {name}"),
        }
    }
}

impl Producer for SessionIdProducer {
    fn makes(&self) -> Data {
        Data::RequestAttribute(self.attribute.clone())
    }

    fn produce(
        &self,
        request: &Request,
        _: &[Arc<Endpoint>],
        _: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let found = match &self.source {
            SessionIdSource::Cookie(name) => cookie(&request.headers, name),
            SessionIdSource::Header(name) => request.headers.get(name).map(str::trim).filter(|id| !id.is_empty()),
        };
        if let Some(id) = found {
            out.set_text(self.attribute.clone(), id);
        }
        None
    }
}

/// The value of the first cookie of this name that has one.
///
/// Format: RFC 6265 §4.2.1, `name=value` with `; ` between them; names are told apart by case. HTTP/2 may send each pair in a
/// header of its own (RFC 9113 §8.2.3).
fn cookie<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let lines = headers.iter().filter(|&(header, _)| header == "cookie").map(|(_, line)| line);
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| unquoted(value.trim()));
    values.find(|value| !value.is_empty())
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    fn said(source: SessionIdSource, headers: &[(&'static str, &str)]) -> Option<String> {
        let producer = SessionIdProducer::new("session-id-producer", source);
        let request = request([]).with_headers(headers.iter().copied().collect());
        let mut attributes = Attributes::default();
        assert!(producer.produce(&request, &[], Duration::ZERO, &mut attributes).is_none());
        attributes.text("session-id").map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_by_its_name_wherever_it_stands() {
        let table: [(&[&str], Option<&str>); 12] = [
            (&["sid=abc"], Some("abc")),
            (&["a=1; sid=abc; b=2"], Some("abc")),
            (&["a=1;sid=abc"], Some("abc")),
            // A value may hold what separates a name from it.
            (&["sid=YWJj=="], Some("YWJj==")),
            (&["sid=\"abc\""], Some("abc")),
            (&["a=1", "sid=abc"], Some("abc")),
            (&["sid=first; sid=second"], Some("first")),
            (&["sid=; sid=second"], Some("second")),
            // Names are whole, and told apart by case.
            (&["xsid=abc; SID=abc; sidx=abc"], None),
            (&["a=sid=abc"], None),
            (&["sid"], None),
            (&[""], None),
        ];
        for (lines, expected) in table {
            let headers: Vec<_> = lines.iter().map(|&line| ("cookie", line)).collect();
            let found = said(SessionIdSource::Cookie("sid".to_owned()), &headers);
            assert_eq!(found.as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_header_is_taken_as_it_is_but_for_spaces_around_it() {
        let by_header = || SessionIdSource::Header("X-Session".to_owned());
        assert_eq!(said(by_header(), &[("x-session", " a b ")]).as_deref(), Some("a b"));
        assert_eq!(said(by_header(), &[("x-session", "  ")]), None);
        assert_eq!(said(by_header(), &[("cookie", "x-session=abc")]), None);
    }
}
