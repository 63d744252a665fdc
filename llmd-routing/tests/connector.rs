//! Bodies that connectors make, to the byte: every folder of `fixtures/connector` is a connector, and every folder in it a
//! request. `UPDATE_EXPECT=1` writes what they make anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use llmd_routing::Headers;
use llmd_routing::connector::{
    self, Api, Body, ClientParams, Connector, Dispatch, EcConnector, Engines, Handover, KvSource, MoriIo, NixlV2,
    Offloading, Original, P2p,
};

const REQUEST_ID: &str = "0190b2d4-8f1e-11ef-9a3c-0242ac120002";
const PULL_ID: &str = "0190b2d4-9001-11ef-9a3c-0242ac120002";
const PREFILLER: &str = "10.0.0.1:8001";

/// Connectors that have more forms than names: what each folder besides [`connector::NAMES`] holds.
fn forms() -> Vec<(&'static str, Box<dyn Connector>)> {
    let ranks = P2p::default().with_ranks(8000, 4).expect("there are ports enough");
    let mut moriio = MoriIo::default();
    moriio.dp_size = 4;
    moriio.dp_size_local = Some(2);
    moriio.prefill.hosts = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
    moriio.decode.hosts = vec!["10.0.0.9".to_owned(), "10.0.0.10".to_owned()];
    let mut parallel = MoriIo::default();
    parallel.dispatch = Dispatch::Parallel;
    vec![
        ("nixlv2-moriio", Box::new(NixlV2::default().with_moriio(moriio))),
        ("nixlv2-moriio-parallel", Box::new(NixlV2::default().with_moriio(parallel))),
        ("nixlv2-pull", Box::new(NixlV2::default().with_pull(P2p::default()))),
        ("offloading-pull", Box::new(Offloading::new(ranks))),
    ]
}

fn connectors() -> Vec<(&'static str, Box<dyn Connector>)> {
    let named = connector::NAMES.iter().map(|&name| (name, connector::by_name(name).expect("it has a name")));
    named.chain(forms()).collect()
}

const EC: [EcConnector; 2] = [EcConnector::Example, EcConnector::Nixl];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/connector")
}

/// The folders in this one, by name.
fn folders(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entries = entries.map(|entry| entry.expect("the folder can be listed")).filter(|entry| entry.path().is_dir());
    entries.map(|entry| entry.file_name().into_string().expect("names are text")).collect()
}

/// The API that a case is of: its name begins with it.
fn api(case: &str) -> Api {
    match case.split_once('-').map_or(case, |(api, _)| api) {
        "chat" => Api::ChatCompletions,
        "completions" => Api::Completions,
        "generate" => Api::Generate,
        "messages" => Api::Messages,
        "responses" => Api::Responses,
        other => panic!("{case}: expected an API's name, found {other}"),
    }
}

fn with_handover<T>(f: impl FnOnce(&Handover<'_>) -> T) -> T {
    let engines =
        Engines::parse(br#"{"0":{"engine_id":"engine-0"},"1":{"engine_id":"engine-1"}}"#).expect("it has engines");
    let handover = Handover::new(REQUEST_ID, PREFILLER).with_engine(engines.pick(1)).with_rank(3);
    let handover = handover.with_decoder("10.0.0.9:8000");
    let handover = handover.with_room(1_764_169_324_123_456_789);
    f(&handover.with_kv_source(KvSource::new("10.0.0.2:8003", PULL_ID)))
}

/// One field a line, values as they are.
fn page(body: &Body<'_>) -> String {
    let line = |(name, value): (&str, &serde_json::value::RawValue)| {
        format!("  {}: {}", serde_json::to_string(name).expect("a name is text"), value.get())
    };
    format!("{{\n{}\n}}\n", body.iter().map(line).collect::<Vec<_>>().join(",\n"))
}

fn headers(headers: &Headers) -> serde_json::Map<String, serde_json::Value> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn expect(file: PathBuf, text: &str) {
    expect_file![file].assert_eq(text);
}

/// Both stages of a request, compared with what stands in its folder.
fn stages(connector: &dyn Connector, original: &Original<'_>, folder: &Path) {
    let response = fs::read(folder.join("prefill-response.json")).ok();
    with_handover(|handover| {
        let prefill = connector.prefill(original, handover).expect("the request is good");
        let decode = connector.decode(original, handover, response.as_deref()).expect("the response is good");
        expect(folder.join("prefill.json"), &page(&prefill.body));
        expect(folder.join("decode.json"), &page(&decode.leg.body));
        let stages = serde_json::json!({
            "order": format!("{:?}", connector.order(original)),
            "prefill_headers": headers(&prefill.headers),
            "prefill_response": format!("{:?}", connector.prefill_response()),
            "decode_headers": headers(&decode.leg.headers),
            "kv": format!("{:?}", decode.kv),
            "cached_tokens": decode.cached_tokens,
        });
        expect(folder.join("stages.json"), &format!("{stages:#}\n"));
    });
}

#[test]
fn every_folder_is_a_connector_and_has_a_chat_a_stream_and_a_completion() {
    let folders_there = folders(&fixtures());
    let known = connectors().into_iter().map(|(name, _)| name).chain(EC.map(EcConnector::name));
    assert_eq!(folders_there, known.map(str::to_owned).collect());
    for name in folders_there {
        let cases = folders(&fixtures().join(&name));
        for case in ["chat", "chat-streaming", "completions"] {
            assert!(cases.contains(case), "{name} has no case {case}");
        }
    }
}

#[test]
fn connectors_make_these_bodies() {
    for (name, connector) in connectors() {
        for case in folders(&fixtures().join(name)) {
            let folder = fixtures().join(name).join(&case);
            let request = fs::read(folder.join("request.json")).unwrap();
            let original = Original::parse(api(&case), &request, ClientParams::Removed).unwrap();
            stages(connector.as_ref(), &original, &folder);
        }
    }
}

#[test]
fn encoders_are_sent_these_bodies_and_the_stages_after_them_those() {
    let mut requests_made = 0;
    for ec in EC {
        for case in folders(&fixtures().join(ec.name())) {
            let folder = fixtures().join(ec.name()).join(&case);
            let request = fs::read(folder.join("request.json")).unwrap();
            let original = Original::parse(api(&case), &request, ClientParams::Removed).unwrap();

            let encoders = ["10.0.1.1:8000", "10.0.1.2:8000"];
            let requests = ec.requests(&original, encoders.len(), REQUEST_ID).unwrap();
            requests_made += requests.len();
            let mut responses = Vec::new();
            for (place, request) in requests.iter().enumerate() {
                expect(folder.join(format!("encoder-{place}.json")), &page(&request.leg.body));
                assert_eq!(request.encoder, place % encoders.len());
                let id = request.leg.headers.get("x-request-id").map(str::to_owned);
                assert_eq!(id, Some(format!("{REQUEST_ID}-enc-{place}")));
                responses.push(fs::read(folder.join(format!("encoder-{place}-response.json"))).unwrap());
            }
            let responses: Vec<_> = responses.iter().map(Vec::as_slice).collect();
            let encoded = ec.encoded(&original, &responses).unwrap();
            let contributed = if ec == EcConnector::Nixl { requests.len() } else { 0 };
            assert_eq!(encoded.contributed, contributed);
            stages(&NixlV2::default(), if requests.is_empty() { &original } else { &encoded.original }, &folder);
        }
    }
    assert_eq!(requests_made, 8);
}

#[test]
fn the_only_engine_pulls_from_a_peer_but_not_from_itself() {
    let original = Original::parse(Api::Completions, br#"{"prompt":"a"}"#, ClientParams::Removed).unwrap();
    let offloading = Offloading::new(P2p::default().with_ranks(8000, 4).unwrap());
    let alone = |endpoint| {
        let source = Some(KvSource::new("http://10.0.0.2:8003", PULL_ID));
        offloading.alone(&original, endpoint, source).body.to_json()
    };

    assert_eq!(
        alone("10.0.0.2:8002"),
        format!(
            r#"{{"prompt":"a","kv_transfer_params":{{"remote_kv_source":{{"kv_request_id":"{PULL_ID}","remote_host":"10.0.0.2","remote_port":7780}}}}}}"#
        )
    );
    assert_eq!(alone("10.0.0.2:8003"), r#"{"prompt":"a"}"#);
    assert_eq!(
        NixlV2::default().alone(&original, "x", Some(KvSource::new("y", "z"))).body.to_json(),
        r#"{"prompt":"a"}"#
    );
}

#[test]
fn a_decoder_is_tried_first_only_where_the_client_says_so_and_nobody_has_encoded() {
    let storage = connector::by_name("shared-storage").unwrap();
    let original = |body| Original::parse(Api::ChatCompletions, body, ClientParams::Removed).unwrap();
    let threshold = original(br#"{"cache_hit_threshold":0.5}"#);

    assert_eq!(storage.order(&original(b"{}")), connector::Order::Sequential);
    assert_eq!(storage.order(&threshold), connector::Order::DecodeFirst);
    assert_eq!(storage.attempt(&threshold).body.to_json(), r#"{"cache_hit_threshold":0.5}"#);
    let encoded = EcConnector::Example.encoded(&threshold, &[]).unwrap();
    assert_eq!(storage.order(&encoded.original), connector::Order::Sequential);
}

#[test]
fn what_a_handover_lacks_is_named() {
    let original = Original::parse(Api::Completions, b"{}", ClientParams::Removed).unwrap();
    let handover = Handover::new(REQUEST_ID, PREFILLER);
    let refused = |name: &str| {
        let connector = connector::by_name(name).unwrap();
        connector.prefill(&original, &handover).map(drop).unwrap_err().to_string()
    };

    assert_eq!(
        refused("mooncake"),
        "the handover of mooncake lacks something: expected an engine of its bootstrap server"
    );
    let moriio = NixlV2::default().with_moriio(MoriIo::default()).prefill(&original, &handover);
    assert_eq!(
        moriio.map(drop).unwrap_err().to_string(),
        "the handover of nixlv2 with MoRI-IO lacks something: expected a decoder"
    );
    assert_eq!(refused("sglang"), "the handover of sglang lacks something: expected a bootstrap room");
    assert!(
        connector::by_name("lmcache")
            .unwrap_err()
            .to_string()
            .starts_with("connector `lmcache`: expected one of kv-nixl")
    );
}
