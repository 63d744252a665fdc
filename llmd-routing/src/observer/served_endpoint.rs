//! `destination-endpoint-served-verifier`: conformance tests see which endpoint answered.

use crate::plugin::{Attributes, Hooks, Plugin};
use crate::{Endpoint, Headers, Request};

/// How the client is told.
const HEADER: &str = "x-conformance-test-served-endpoint";

/// Tells the client, in `x-conformance-test-served-endpoint`, the address of the endpoint that answers.
///
/// Semantics: llm-d's `destination-endpoint-served-verifier`, for the conformance tests of the Gateway API. llm-d says what Envoy
/// says; here it is the endpoint that the decision stands at when the response comes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DestinationEndpointServedVerifier;

impl Plugin for DestinationEndpointServedVerifier {
    fn follow(&self, _: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        Some(Box::new(Tell))
    }
}

#[derive(Debug)]
struct Tell;

impl Hooks for Tell {
    fn response_headers(&self, endpoint: &Endpoint, headers: &mut Headers) {
        headers.insert(HEADER, endpoint.address());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pool, request};

    #[test]
    fn a_client_is_told_who_answered() {
        let hooks = DestinationEndpointServedVerifier.follow(&request([]), &Attributes::default());
        let mut headers = Headers::default();
        hooks.expect("it tells").response_headers(&pool(2)[1], &mut headers);
        assert_eq!(headers.get(HEADER), Some("10.0.0.1:8000"));
    }
}
