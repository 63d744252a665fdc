//! What several encoders say of where their results lie, as one.

use std::borrow::Cow;

use llmd_core::protocol::EC_TRANSFER_PARAMS;
use llmd_core::{Error, ErrorKind, Result};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connector::body::Body;
use crate::connector::fault::is_null;

/// The descriptors of all responses by the items' hashes, and how many responses had any. A hash without a descriptor is
/// left out, and so are params that are no object.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] when a response is no JSON object, or two say different things of the same hash: whichever was
/// taken, the other's encoder may have given its buffer to somebody else by now.
///
/// Rules: llm-d's `ec-nixl`, the coordinator's where the sidecar takes the last.
pub(super) fn merge<'a>(responses: &[&'a [u8]]) -> Result<(Body<'a>, usize)> {
    let mut merged = Body::default();
    let mut contributed = 0;
    for (place, response) in responses.iter().enumerate() {
        let mut response =
            Body::read(response, &format!("the response of encoder request {place}"), ErrorKind::Corrupt)?;
        let Some(Cow::Borrowed(params)) = response.take(EC_TRANSFER_PARAMS) else { continue };
        let Some(params) = Body::of(params) else { continue };
        let mut any = false;
        for (hash, descriptor) in params.into_fields().filter(|(_, descriptor)| !is_null(descriptor)) {
            any = true;
            match merged.get(&hash) {
                Some(known) if !same(known, &descriptor) => return Err(conflict(&hash)),
                Some(_) => {}
                None => merged.set(hash, descriptor),
            }
        }
        contributed += usize::from(any);
    }
    Ok((merged, contributed))
}

/// Whether two descriptors say the same, however they are written.
fn same(one: &RawValue, other: &RawValue) -> bool {
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
    one.get() == other.get() || value(one).is_some_and(|one| Some(one) == value(other))
}

fn conflict(hash: &str) -> Error {
    let message = format!("{EC_TRANSFER_PARAMS} of item {hash}: expected the same descriptor from every encoder");
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(responses: &[&str]) -> Result<(String, usize)> {
        let responses: Vec<_> = responses.iter().map(|response| response.as_bytes()).collect();
        merge(&responses).map(|(params, contributed)| (params.to_json(), contributed))
    }

    #[test]
    fn descriptors_are_gathered_by_the_hash_of_their_item() {
        let (params, contributed) = merged(&[
            r#"{"ec_transfer_params":{"h1":{"peer_port":5,"size_bytes": 18446744073709551615}}}"#,
            r#"{"choices":[]}"#,
            r#"{"ec_transfer_params":null}"#,
            r#"{"ec_transfer_params":{"h2":null}}"#,
            r#"{"ec_transfer_params":"x"}"#,
            r#"{"ec_transfer_params":{"h3":{"peer_port":6},"h1":{"size_bytes":18446744073709551615,"peer_port":5}}}"#,
        ])
        .unwrap();
        assert_eq!(params, r#"{"h1":{"peer_port":5,"size_bytes": 18446744073709551615},"h3":{"peer_port":6}}"#);
        assert_eq!(contributed, 2);
    }

    #[test]
    fn two_descriptors_of_one_item_are_a_conflict() {
        let error = merged(&[r#"{"ec_transfer_params":{"h1":{"a":1}}}"#, r#"{"ec_transfer_params":{"h1":{"a":2}}}"#]);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), "ec_transfer_params of item h1: expected the same descriptor from every encoder");
        assert_eq!(merged(&["x"]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
