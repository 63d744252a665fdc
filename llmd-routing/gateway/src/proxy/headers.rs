//! Which headers go on to an endpoint, and which come back from it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use llmd_routing::Headers;
use llmd_routing::plugin::HeaderChanges;

/// The name by which a request is known in logs, at endpoints and in `/debug/decisions`.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How an engine is told which of its data-parallel ranks a request is for.
pub(crate) const RANK: &str = "x-data-parallel-rank";
const PREFILLER: &str = "x-prefiller-host-port";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers that concern one connection only (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers by which gateways tell engines and sidecars where to fetch KV and which rank computes: a client that could
/// set them could reach another tenant's blocks, or any host of the network.
const ROUTING: [HeaderName; 6] = [
    HeaderName::from_static("x-data-parallel-host-port"),
    HeaderName::from_static("x-data-parallel-rank"),
    HeaderName::from_static("x-encoder-hosts-ports"),
    HeaderName::from_static("x-gateway-destination-endpoint"),
    HeaderName::from_static("x-kv-cache-source-host-port"),
    HeaderName::from_static("x-prefiller-host-port"),
];

/// The headers by which a request says its objective: llm-d's name, and the one before it.
const OBJECTIVE: [&str; 2] = ["x-llm-d-inference-objective", "x-gateway-inference-objective"];

/// The longest request id that is taken from a client, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// What goes on of a client's headers. `traceparent` and everything else that is not named above goes on as it is.
pub(crate) fn to_endpoint(headers: &mut HeaderMap, client: IpAddr) {
    strip_hop_by_hop(headers);
    for name in ROUTING {
        headers.remove(name);
    }
    // The client's connection and body are not the endpoint's: these are written anew.
    for name in [CONTENT_LENGTH, EXPECT, HOST] {
        headers.remove(name);
    }
    let mut hops: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let client = client.to_string();
    hops.push(client.as_bytes());
    let hops = HeaderValue::from_bytes(&hops.join(&b", "[..])).expect("header values joined by a comma are one");
    headers.insert(FORWARDED_FOR, hops);
}

/// What comes back of an endpoint's headers.
pub(crate) fn to_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
}

/// Removes what concerns one connection only, and what `Connection` names besides.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The id that the client gave its request, unless it is empty, too long, or no visible ASCII.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    (!id.is_empty() && id.len() <= MAX_REQUEST_ID && !id.contains(' ')).then_some(id)
}

/// The priority of a request, by what it says of its objective.
pub(crate) fn priority(headers: &HeaderMap, objectives: &BTreeMap<String, i32>) -> i32 {
    let said = OBJECTIVE.iter().find_map(|name| headers.get(*name)?.to_str().ok());
    said.and_then(|objective| objectives.get(objective)).copied().unwrap_or(0)
}

/// These headers without those that say where stages are done and which rank computes.
pub(crate) fn without_routing(headers: &Headers) -> Headers {
    let others = headers.iter().filter(|(name, _)| !ROUTING.iter().any(|routing| routing == name));
    others.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// These headers without the one by which a sidecar is told to have a request prefilled.
pub(crate) fn without_prefiller(headers: &Headers) -> Headers {
    let others = headers.iter().filter(|(name, _)| *name != PREFILLER);
    others.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Makes the changes that a decision asks for. A header that is no header is left out.
pub(crate) fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    for name in &changes.remove {
        headers.remove(&**name);
    }
    for (name, value) in changes.set.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}

/// The headers as a scheduler sees them: those that are text, and none that is a secret; cookies only where a plugin reads
/// them.
pub(crate) fn for_scheduler(headers: &HeaderMap, cookies: bool) -> Headers {
    let secret = |name: &HeaderName| *name == http::header::AUTHORIZATION || *name == http::header::COOKIE && !cookies;
    let texts = headers.iter().filter(|(name, _)| !secret(name));
    texts.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let mut all = headers(&[
            ("connection", "close, X-Mine"),
            ("keep-alive", "5"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("traceparent", "00-1-2-01"),
            ("authorization", "Bearer k"),
        ]);
        to_client(&mut all);
        assert_eq!(names(&all), ["traceparent", "authorization"]);
    }

    #[test]
    fn a_client_cannot_say_where_kv_comes_from() {
        let mut all = HeaderMap::new();
        for name in ROUTING {
            all.insert(name, HeaderValue::from_static("10.0.0.1:80"));
        }
        to_endpoint(&mut all, CLIENT);
        assert_eq!(names(&all), ["x-forwarded-for"]);
    }

    #[test]
    fn the_client_is_added_to_those_it_speaks_for() {
        let mut all = headers(&[("x-forwarded-for", "203.0.113.1, 203.0.113.2"), ("x-forwarded-for", "203.0.113.3")]);
        to_endpoint(&mut all, CLIENT);
        assert_eq!(all["x-forwarded-for"], "203.0.113.1, 203.0.113.2, 203.0.113.3, 192.0.2.7");
    }

    #[test]
    fn a_request_id_is_taken_when_it_is_one() {
        assert_eq!(request_id(&headers(&[("x-request-id", "abc-1")])), Some("abc-1"));
        for id in ["", "a b"] {
            assert_eq!(request_id(&headers(&[("x-request-id", id)])), None, "{id:?}");
        }
        let mut long = HeaderMap::new();
        long.insert(REQUEST_ID, "x".repeat(MAX_REQUEST_ID + 1).parse().unwrap());
        assert_eq!(request_id(&long), None);
    }

    #[test]
    fn a_scheduler_sees_no_secrets() {
        let seen =
            for_scheduler(&headers(&[("authorization", "Bearer k"), ("x-session-id", "7"), ("cookie", "a=b")]), false);
        assert_eq!(seen.iter().collect::<Vec<_>>(), [("x-session-id", "7")]);
    }
}
