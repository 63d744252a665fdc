//! `header-based-testing-filter`: endpoints that a header names, for conformance tests of gateways.

use crate::plugin::{Candidates, Context, Filter, Plugin};

/// The header that names endpoints, by IP address or by IP address and port, with commas between.
const HEADER: &str = "test-epp-endpoint-selection";

/// Keeps the candidates that the header `test-epp-endpoint-selection` names, and nobody without it.
///
/// Semantics: llm-d's `header-based-testing-filter`, which keeps one endpoint of each IP address; here an address without a
/// port names every endpoint there.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HeaderBasedTestingFilter;

impl Plugin for HeaderBasedTestingFilter {}

impl Filter for HeaderBasedTestingFilter {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        let named = cx.request.headers.get(HEADER).unwrap_or_default();
        let named = || named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(host_and_port);
        candidates.retain(|candidate| {
            let (host, port) = host_and_port(candidate.endpoint.address());
            named().any(|(wanted, at)| wanted == host && (at.is_none() || at == port))
        });
    }
}

/// `10.0.0.1:8000`, `[::1]:8000`, or either without a port.
fn host_and_port(address: &str) -> (&str, Option<&str>) {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (address, None),
        },
    };
    (host, port.filter(|port| !port.is_empty()))
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{kept, request};
    use crate::{Endpoint, Headers, Pool};

    #[test]
    fn those_that_the_header_names_are_kept() {
        let addresses = ["10.0.0.1:8000", "10.0.0.1:8001", "10.0.0.2:8000", "[fd00::1]:8000"];
        let endpoint = |(place, address): (u32, &str)| Endpoint::new(place.to_string(), address, WorkerId(place));
        let pool: Pool = (0..).zip(addresses).map(endpoint).collect();
        let table: [(&str, &[&str]); 10] = [
            ("10.0.0.1:8001", &["1"]),
            ("10.0.0.1", &["0", "1"]),
            ("10.0.0.2, 10.0.0.1:8000,", &["0", "2"]),
            ("fd00::1", &["3"]),
            ("[fd00::1]", &["3"]),
            ("[fd00::1]:8000", &["3"]),
            ("[fd00::1]:8001", &[]),
            ("10.0.0.3", &[]),
            ("10.0.0.2:", &["2"]),
            ("", &[]),
        ];
        for (header, expected) in table {
            let request = request([]).with_headers(Headers::from_iter([(HEADER, header)]));
            assert_eq!(kept(&HeaderBasedTestingFilter, &request, &pool, &Attributes::default()), expected, "{header}");
        }
        assert!(kept(&HeaderBasedTestingFilter, &request([]), &pool, &Attributes::default()).is_empty());
    }
}
