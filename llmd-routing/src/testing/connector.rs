//! What a connector must do. The suite panics with a sentence that says what does not hold.

use llmd_core::ErrorKind;
use llmd_core::protocol::KV_TRANSFER_PARAMS;

use crate::connector::{
    Api, Body, ClientParams, Connector, Engines, Handover, Kv, KvSource, Leg, Original, PrefillResponse,
};

/// By these a connector tells engines of each other.
const SAID: [&str; 5] =
    [KV_TRANSFER_PARAMS, "bootstrap_host", "bootstrap_port", "bootstrap_room", "cache_hit_threshold"];

/// By these a prefiller is asked for one token.
const LIMITS: [&str; 7] = [
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "min_tokens",
    "sampling_params",
];

/// A prefiller's response with llmd's fields, which every connector takes.
const RESPONSE: &[u8] =
    br#"{"kv_transfer_params":{"connector":"llmd","do_remote_prefill":true,"grant":"AQID","n":18446744073709551617}}"#;

/// Checks that a connector changes nothing of a request but what engines are told of each other and, for prefill, how much is
/// asked for; that it says the same when it is asked the same; and that it needs prefill's response exactly when it says so.
/// `body` is the request: a JSON object, however strange.
///
/// # Panics
///
/// When the connector does not.
pub fn connector(connector: &dyn Connector, body: &str) {
    for api in Api::ALL {
        for client in [ClientParams::Removed, ClientParams::Kept] {
            if let Ok(original) = Original::parse(api, body.as_bytes(), client) {
                check(connector, &original);
            }
        }
    }
}

fn check(connector: &dyn Connector, original: &Original<'_>) {
    let engines = Engines::parse(br#"{"0":{"engine_id":"engine-0"}}"#).expect("it has an engine");
    let handover = Handover::new("id", "10.0.0.1:8000")
        .with_decoder("10.0.0.9:8000")
        .with_engine(engines.pick(0))
        .with_room(i64::MAX);
    let handover = handover.with_kv_source(KvSource::new("10.0.0.2:8000", "pull"));
    let name = connector.name();

    prefilled(connector, original, &handover);
    for leg in [connector.attempt(original), connector.alone(original, "10.0.0.1:8000", handover.kv_source)] {
        assert_eq!(
            rest(&leg, &SAID),
            rest(&Leg::new(original.body().clone()), &SAID),
            "{name} changes what is decoded"
        );
    }
    let decode =
        connector.decode(original, &handover, Some(RESPONSE)).expect("a response that has everything is taken");
    assert_eq!(
        rest(&decode.leg, &SAID),
        rest(&Leg::new(original.body().clone()), &SAID),
        "{name} changes what is decoded, which is what the client asked"
    );
    let early = connector.decode(original, &handover, None);
    match connector.prefill_response() {
        PrefillResponse::Copied => {
            let refused = early.map(drop).expect_err("a connector that copies a response does without it");
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{name} is asked without a response: {refused}");
            for corrupt in [&b"[]"[..], b"", br#"{"kv_transfer_params":7}"#] {
                let refused = connector.decode(original, &handover, Some(corrupt)).map(drop);
                let refused = refused.expect_err("a connector that copies a response takes one that is none");
                assert_eq!(refused.kind(), ErrorKind::Corrupt, "{name} is given a response that is none: {refused}");
            }
            let alone = connector.decode(original, &handover, Some(b"{}")).expect("a response without KV is taken");
            assert_eq!(alone.kv, Kv::Recomputed, "{name} takes nothing for KV");
        }
        PrefillResponse::Discarded => {
            let early = early.expect("a connector that discards a response does without it");
            assert_eq!(early.leg.body.to_json(), decode.leg.body.to_json(), "{name} discards a response that it reads");
        }
    }
}

/// A body is refused only for what stands where limits belong.
fn prefilled(connector: &dyn Connector, original: &Original<'_>, handover: &Handover<'_>) {
    let name = connector.name();
    match connector.prefill(original, handover) {
        Err(refused) => {
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{name} refuses a body: {refused}");
            let strange = original.body().get("sampling_params").is_some();
            assert!(strange && original.api() == Api::Generate, "{name} refuses a body that is good: {refused}");
        }
        Ok(prefill) => {
            let again = connector.prefill(original, handover).expect("what was taken once is taken again");
            assert_eq!(prefill.body.to_json(), again.body.to_json(), "{name} says something else when asked again");
            let changed = [&SAID[..], &LIMITS].concat();
            let before = rest(&Leg::new(original.body().clone()), &changed);
            assert_eq!(rest(&prefill, &changed), before, "{name} changes what is prefilled");
        }
    }
}

/// The fields that have none of these names, byte for byte and in order.
fn rest(leg: &Leg<'_>, names: &[&str]) -> String {
    let mut body: Body<'_> = leg.body.clone();
    body.remove(names);
    body.to_json()
}
