//! Requests that one engine prefills and another decodes.

use serde_json::{Value, json};

use crate::support::{Act, Client, Engine, Stream, completion, entry, eventually, finish, gateway_of, piece, settings};

/// Every request is prefilled by an endpoint with that role, and decoded by one of the other.
const APART: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: prefill-filter
- type: decode-filter
- {type: round-robin-picker, name: prefillers-in-turn}
- {type: round-robin-picker, name: decoders-in-turn}
- type: always-disagg-pd-decider
- type: disagg-profile-handler
  parameters: {deciders: {prefill: always-disagg-pd-decider}}
schedulingProfiles:
- name: prefill
  plugins: [{pluginRef: prefill-filter}, {pluginRef: prefillers-in-turn}]
- name: decode
  plugins: [{pluginRef: decode-filter}, {pluginRef: decoders-in-turn}]
";

const PARAMS: &str = r#"{"do_remote_prefill":true,"remote_block_ids":[[4, 5]],"remote_host":"10.0.0.1","n":1e-7}"#;

/// What a prefiller answers that had 5 tokens cached.
fn prefilled(params: &str) -> Act {
    let usage = r#""usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":5}}"#;
    Act::Answer(200, format!("{{{usage},\"kv_transfer_params\":{params}}}"))
}

async fn prefiller() -> Engine {
    Engine::start(|_| prefilled(PARAMS)).await
}

/// A gateway that sees to the stages itself, before these prefillers, p0, p1, …, and this decoder, d0.
async fn before(prefillers: &[&Engine], decoder: &Engine) -> (llmd_gateway::RunningGateway, Client) {
    let mut settings = settings();
    settings.disaggregation.connector = Some("nixlv2".into());
    started(settings, prefillers, decoder).await
}

async fn started(
    settings: llmd_gateway::Settings,
    prefillers: &[&Engine],
    decoder: &Engine,
) -> (llmd_gateway::RunningGateway, Client) {
    let named = |name: String, engine: &Engine, role: &str| {
        let mut entry = entry(&name, engine.address()).with_models(["m"]);
        entry.labels.insert("llm-d.ai/role".into(), role.into());
        entry
    };
    let prefillers = prefillers.iter().enumerate();
    let mut entries: Vec<_> = prefillers.map(|(place, engine)| named(format!("p{place}"), engine, "prefill")).collect();
    entries.push(named("d0".into(), decoder, "decode"));
    gateway_of(settings, APART, entries).await
}

fn body(engine: &Engine) -> Value {
    serde_json::from_slice(&engine.seen()[0].body).unwrap()
}

async fn metric(client: &Client, line: &str) -> bool {
    client.get("/metrics").await.text().lines().any(|found| found == line)
}

async fn in_flight(client: &Client, endpoint: &str) -> String {
    let metrics = client.get("/metrics").await;
    let name = format!("llmd_inflight_requests{{endpoint_name=\"{endpoint}\"}} ");
    let found = metrics.text().lines().find_map(|line| line.strip_prefix(&*name)).map(str::to_owned);
    found.unwrap_or_else(|| panic!("{name} in\n{}", metrics.text()))
}

#[tokio::test]
async fn a_request_is_prefilled_at_one_engine_and_decoded_at_another() {
    let (prefiller, decoder) = (prefiller().await, Engine::well().await);
    let (_gateway, client) = before(&[&prefiller], &decoder).await;

    let asked =
        json!({"model": "m", "prompt": "hello", "max_tokens": 7, "kv_transfer_params": {"remote_host": "evil"}});
    let mut request = client.request(http::Method::POST, "/v1/completions", asked.to_string());
    request.headers_mut().insert("x-request-id", "mine".parse().unwrap());
    let answer = client.send(request).await;

    assert_eq!((answer.status, answer.header("x-llmd-endpoint")), (200, "d0"), "{}", answer.text());
    assert_eq!((answer.header("x-llmd-prefill-endpoint"), answer.header("x-request-id")), ("p0", "mine"));
    assert_eq!(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"], 5, "the prefiller's");
    let prefill = body(&prefiller);
    assert_eq!((&prefill["max_tokens"], &prefill["stream"]), (&json!(1), &json!(false)));
    assert_eq!(prefill["kv_transfer_params"]["do_remote_decode"], true);
    assert_eq!(prefill["kv_transfer_params"]["remote_host"], Value::Null);
    let decode = String::from_utf8(decoder.seen()[0].body.to_vec()).unwrap();
    let expected = format!(r#"{{"model":"m","prompt":"hello","max_tokens":7,"kv_transfer_params":{PARAMS}}}"#);
    assert_eq!(decode, expected, "as the prefiller wrote them");

    let seen = [&prefiller.seen()[0], &decoder.seen()[0]];
    let ids = seen.map(|seen| seen.headers["x-request-id"].to_str().unwrap().to_owned());
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].starts_with("mine-") && ids[0].len() > 20, "{}: used once", ids[0]);
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("x-prefiller-host-port")));
    assert!(metric(&client, "llmd_disagg_decision_total{model_name=\"m\",decision_type=\"prefill-decode\"} 1").await);
    assert!(metric(&client, "llmd_prefill_duration_seconds_count 1").await);
    for endpoint in ["p0", "d0"] {
        assert_eq!(in_flight(&client, endpoint).await, "0");
    }
}

#[tokio::test]
async fn a_stream_says_what_the_prefiller_had_cached_and_comes_piece_by_piece() {
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    let decoder = Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await;
    let prefiller = prefiller().await;
    let (_gateway, client) = before(&[&prefiller], &decoder).await;

    stream.send("data: 1\n\nda");
    let mut response = client.stream().await;
    assert_eq!(piece(&mut response).await, Some(Ok("data: 1\n\n".into())));
    stream.send("ta: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n");
    stream.send("data: [DONE]\n\n");
    drop(stream);
    let answer = finish(response).await;
    let usage = r#"{"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":5}}}"#;
    assert_eq!((answer.text(), answer.whole), (&*format!("data: {usage}\n\ndata: [DONE]\n\n"), true));
    let counted = "llmd_request_cached_tokens_total{model_name=\"m\"} 5";
    eventually("it is counted", async || metric(&client, counted).await).await;
    assert_eq!(body(&prefiller).get("stream_options"), None);
}

#[tokio::test]
async fn a_prefiller_that_fails_is_followed_by_the_next() {
    type Behaviour = fn() -> Act;
    let bad: [(&str, Behaviour, &str); 5] = [
        ("closes", || Act::Die, "reset"),
        ("closes after the head", || Act::DieAfterHead, "reset"),
        ("says 500", || Act::Answer(500, "broken".into()), "status"),
        ("says 429", || Act::Answer(429, "busy".into()), "status"),
        ("hands over nonsense", || prefilled("7"), "answer"),
    ];
    for (which, behaviour, reason) in bad {
        let (bad, good, decoder) = (Engine::start(move |_| behaviour()).await, prefiller().await, Engine::well().await);
        let (_gateway, client) = before(&[&bad, &good], &decoder).await;
        for answer in [client.complete().await, client.complete().await] {
            assert_eq!((answer.status, answer.header("x-llmd-prefill-endpoint")), (200, "p1"), "{which}");
        }
        assert_eq!(good.seen().len(), 2, "{which}");
        assert_eq!(bad.seen().len(), 1, "{which}");
        let retried = format!("llmd_retries_total{{endpoint_name=\"p0\",reason=\"{reason}\"}}");
        let metrics = client.get("/metrics").await;
        assert!(metrics.text().contains(&retried), "{which}: {}", metrics.text());
        for endpoint in ["p0", "p1", "d0"] {
            assert_eq!(in_flight(&client, endpoint).await, "0", "{which}");
        }
    }
}

#[tokio::test]
async fn when_nobody_can_prefill_the_decoder_does_both() {
    let (sick, dead, decoder) = (
        Engine::start(|_| Act::Answer(503, "busy".into())).await,
        Engine::start(|_| Act::Die).await,
        Engine::well().await,
    );
    let (_gateway, client) = before(&[&sick, &dead], &decoder).await;

    let answer = client.complete().await;
    assert_eq!((answer.status, answer.header("x-llmd-prefill-endpoint")), (200, ""));
    assert_eq!(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"], 8, "its own");
    assert_eq!(body(&decoder), json!({"model": "m", "prompt": "hello"}), "as the client wrote it");
    let metrics = client.get("/metrics").await;
    assert!(metrics.text().contains("llmd_prefill_fallbacks_total{model_name=\"m\",reason="), "{}", metrics.text());
    for endpoint in ["p0", "p1", "d0"] {
        assert_eq!(in_flight(&client, endpoint).await, "0");
    }
}

#[tokio::test]
async fn a_prefiller_that_hands_nothing_over_costs_nothing_but_its_work() {
    let (vain, decoder) = (Engine::start(|_| prefilled("null")).await, Engine::well().await);
    let (_gateway, client) = before(&[&vain], &decoder).await;
    assert_eq!(client.complete().await.status, 200);
    assert_eq!(body(&decoder)["kv_transfer_params"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_by_the_prefiller() {
    let (strict, decoder) = (Engine::start(|_| Act::Answer(400, "my own words".into())).await, Engine::well().await);
    let (_gateway, client) = before(&[&strict], &decoder).await;
    let answer = client.complete().await;
    assert_eq!((answer.status, answer.text()), (400, "my own words"));
    assert!(decoder.seen().is_empty());
    for endpoint in ["p0", "d0"] {
        assert_eq!(in_flight(&client, endpoint).await, "0");
    }
}

#[tokio::test]
async fn each_stage_counts_where_and_while_it_is_done() {
    let (prefilling, prefill) = Stream::new();
    let (decoding, decode) = Stream::new();
    let once = |act| {
        let act = parking_lot::Mutex::new(Some(act));
        Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang))
    };
    let (prefiller, decoder) = (once(prefill).await, once(decode).await);
    let (_gateway, client) = before(&[&prefiller], &decoder).await;
    let counts = async || [in_flight(&client, "p0").await, in_flight(&client, "d0").await];

    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.stream().await }
    });
    eventually("it is prefilled", async || prefiller.under_way() == 1).await;
    assert_eq!(counts().await, ["1", "1"]);
    prefilling.send(&format!("{{\"kv_transfer_params\":{PARAMS}}}"));
    drop(prefilling);
    eventually("it is decoded", async || decoder.under_way() == 1).await;
    assert_eq!(counts().await, ["0", "1"]);
    decoding.send("data: 1\n\n");
    drop(asking.await.unwrap());
    eventually("the client's leaving ends it", async || decoder.under_way() == 0).await;
    eventually("nothing counts any more", async || counts().await == ["0", "0"]).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_prefill_ends_it() {
    let (prefiller, decoder) = (Engine::start(|_| Act::Hang).await, Engine::well().await);
    let (_gateway, client) = before(&[&prefiller], &decoder).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.complete().await }
    });
    eventually("it is prefilled", async || prefiller.under_way() == 1).await;
    asking.abort();
    eventually("the prefiller is told", async || prefiller.under_way() == 0).await;
    eventually("nothing counts any more", async || in_flight(&client, "p0").await == "0").await;
    assert!(decoder.seen().is_empty());
}

#[tokio::test]
async fn an_engine_that_is_chosen_for_both_stages_is_asked_once() {
    let engine = Engine::well().await;
    let mut both = entry("b0", engine.address()).with_models(["m"]);
    both.labels.insert("llm-d.ai/role".into(), "prefill-decode".into());
    let mut settings = settings();
    settings.disaggregation.connector = Some("nixlv2".into());
    let (_gateway, client) = gateway_of(settings, APART, vec![both]).await;

    let answer = client.complete().await;
    assert_eq!((answer.status, engine.seen().len()), (200, 1));
    assert_eq!(body(&engine), json!({"model": "m", "prompt": "hello"}), "as the client wrote it");
    assert!(metric(&client, "llmd_disagg_decision_total{model_name=\"m\",decision_type=\"decode-only\"} 1").await);
    assert_eq!(in_flight(&client, "b0").await, "0");
}

#[tokio::test]
async fn without_a_connector_a_sidecar_is_told_who_prefills() {
    let (prefiller, decoder) = (prefiller().await, Engine::start(|_| completion()).await);
    let (_gateway, client) = started(settings(), &[&prefiller], &decoder).await;
    assert_eq!(client.complete().await.status, 200);
    assert!(prefiller.seen().is_empty());
    let told = decoder.seen()[0].headers["x-prefiller-host-port"].to_str().unwrap().to_owned();
    assert_eq!(told, prefiller.address().to_string());
}

#[tokio::test]
async fn a_connector_that_the_gateway_cannot_see_to_is_refused_at_the_start() {
    let mut settings = settings();
    settings.disaggregation.connector = Some("mooncake".into());
    let refused = llmd_gateway::Gateway::builder(settings).start().await.unwrap_err();
    assert_eq!(refused.kind(), llmd_core::ErrorKind::Unsupported);
}
