//! Every connector does what its trait's suite says, whatever the body.

use llmd_routing::connector::{self, Connector, Dispatch, MoriIo, NixlV2, Offloading, P2p};
use llmd_routing::testing;
use proptest::prelude::*;

/// Every connector, in every form.
fn connectors() -> Vec<Box<dyn Connector>> {
    let mut all: Vec<_> =
        connector::NAMES.iter().map(|name| connector::by_name(name).expect("it has a name")).collect();
    assert!(all.iter().map(|connector| connector.name()).eq(connector::NAMES));
    let serial = MoriIo::default();
    let mut parallel = serial.clone();
    parallel.dispatch = Dispatch::Parallel;
    all.push(Box::new(NixlV2::default().with_pull(P2p::default())));
    all.push(Box::new(NixlV2::default().with_moriio(serial)));
    all.push(Box::new(NixlV2::default().with_moriio(parallel)));
    all.push(Box::new(Offloading::default().concurrent()));
    all
}

/// Names that mean something, and some that mean nothing.
const NAMES: [&str; 16] = [
    "\"kv_transfer_params\"",
    "\"kv\\u005ftransfer_params\"",
    "\"ec_transfer_params\"",
    "\"bootstrap_room\"",
    "\"cache_hit_threshold\"",
    "\"stream\"",
    "\"stream_options\"",
    "\"max_tokens\"",
    "\"max_completion_tokens\"",
    "\"max_output_tokens\"",
    "\"min_tokens\"",
    "\"sampling_params\"",
    "\"extra_args\"",
    "\"vllm_xargs\"",
    "\"x\"",
    "\"\\u00e9\\\"\"",
];

/// Values that do not come through a parser unchanged.
const VALUES: [&str; 9] = [
    "null",
    "true",
    "-0",
    "1e-7",
    "1.50",
    "9007199254740993",
    "18446744073709551617",
    "\"\\u00e9\\ud83d\\/\"",
    "[1, {\"b\":  2, \"a\": 1}]",
];

/// JSON objects, as text.
fn objects() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(&VALUES[..]).prop_map(str::to_owned);
    let object = |value: BoxedStrategy<String>| {
        let field = (prop::sample::select(&NAMES[..]), value).prop_map(|(name, value)| format!("{name}: {value}"));
        prop::collection::vec(field, 0..8).prop_map(|fields| format!("{{{}}}", fields.join(", ")))
    };
    object(leaf.prop_recursive(3, 24, 8, move |value| object(value.boxed())).boxed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn connectors_conform(body in objects()) {
        connectors().iter().for_each(|connector| testing::connector(connector.as_ref(), &body));
    }
}
