//! A request pays only for what the configured plugins need.

use llmd_gateway::CountTokens;
use serde_json::json;

use crate::support::{Engine, IN_TURN, eventually, gateway_of, settings};

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n";

/// What `/metrics` says under a name, added up.
fn counted(text: &str, name: &str) -> f64 {
    let series = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// A prompt of which no tokens can be made: whoever tries says so in a counter.
const UNREADABLE: &str = r#"{"model": "m", "prompt": 7}"#;

#[tokio::test]
async fn nothing_is_done_that_no_plugin_needs() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.polling.metrics = std::time::Duration::from_millis(2);
    settings.requests.count_tokens = CountTokens::Needed;
    // A tokenizer that is not there: nobody opens it.
    let in_turn = IN_TURN.replace(
        "- type: round-robin-picker\nscheduling",
        "- type: round-robin-picker\n- {type: token-producer, parameters: {local: {path: /nowhere/tokenizer.json}}}\nscheduling",
    );
    let (_gateway, client) = gateway_of(settings, &in_turn, vec![engine.entry("e0")]).await;
    for _ in 0..20 {
        assert_eq!(client.send(client.request(http::Method::POST, "/v1/completions", UNREADABLE)).await.status, 200);
    }
    let metrics = client.get("/metrics").await;
    assert_eq!(counted(metrics.text(), "llmd_request_total"), 20.0);
    assert_eq!(counted(metrics.text(), "llmd_tokenize_errors_total"), 0.0, "no tokens are made");
    assert_eq!(counted(metrics.text(), "llmd_request_input_tokens_total"), 0.0, "no answer is read");
    assert_eq!(engine.scrapes(), 0, "no metrics are read");
}

#[tokio::test]
async fn what_a_plugin_needs_is_done() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.polling.metrics = std::time::Duration::from_millis(2);
    let config = format!("{HEAD}- type: queue-scorer\n- type: token-load-scorer\n");
    let (_gateway, client) = gateway_of(settings, &config, vec![engine.entry("e0")]).await;
    assert_eq!(client.send(client.request(http::Method::POST, "/v1/completions", UNREADABLE)).await.status, 200);
    let metrics = client.get("/metrics").await;
    assert_eq!(counted(metrics.text(), "llmd_tokenize_errors_total"), 1.0);
    assert_eq!(counted(metrics.text(), "llmd_request_input_tokens_total"), 9.0);
    eventually("metrics are read", async || engine.scrapes() > 0).await;
}

#[tokio::test]
async fn an_endpoint_is_told_where_the_other_stages_are_done() {
    let (decode, prefill) = (Engine::well().await, Engine::well().await);
    let config = format!(
        "{HEAD}- type: decode-filter\n- type: prefill-filter\n- type: always-disagg-pd-decider\n- type: max-score-picker\n\
         - {{type: disagg-profile-handler, parameters: {{deciders: {{prefill: always-disagg-pd-decider}}}}}}\n\
         schedulingProfiles:\n- {{name: decode, plugins: [{{pluginRef: decode-filter}}]}}\n\
         - {{name: prefill, plugins: [{{pluginRef: prefill-filter}}]}}\n"
    );
    let labelled = |engine: &Engine, role: &str| {
        let mut entry = engine.entry(role);
        entry.labels.insert("llm-d.ai/role".to_owned(), role.to_owned());
        entry
    };
    let entries = vec![labelled(&decode, "decode"), labelled(&prefill, "prefill")];
    let (_gateway, client) = gateway_of(settings(), &config, entries).await;
    let mut request =
        client.request(http::Method::POST, "/v1/completions", json!({"model": "m", "prompt": "hello"}).to_string());
    request.headers_mut().insert("x-prefiller-host-port", http::HeaderValue::from_static("192.0.2.1:1"));
    assert_eq!(client.send(request).await.status, 200);

    let seen = decode.seen();
    assert_eq!((seen.len(), prefill.seen().len()), (1, 0));
    let told: Vec<_> = seen[0].headers.get_all("x-prefiller-host-port").iter().collect();
    assert_eq!(told, [prefill.address().to_string().as_str()]);
}
