//! What the gateway tells: metrics, and, when debugging, decisions and index.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Engine, IN_TURN, eventually, gateway, gateway_of, settings};

const BY_LOAD: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
  - pluginRef: max-score-picker
";

#[tokio::test]
async fn metrics_are_well_formed() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    client.complete().await;
    let answer = client.get("/metrics").await;

    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.text().ends_with("# EOF\n"));
    let mut described = BTreeSet::new();
    let mut samples = BTreeSet::new();
    for line in answer.text().lines() {
        if let Some(meta) = line.strip_prefix("# TYPE ") {
            let (name, _) = meta.split_once(' ').unwrap();
            assert!(described.insert(name), "{name} is described twice");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(samples.insert(series), "{series} is there twice");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("llmd_") && described.iter().any(|known| name.starts_with(known)), "{line}");
    }
    for expected in [
        "llmd_request_total{model_name=\"m\"} 1",
        "llmd_request_duration_seconds_count{model_name=\"m\"} 1",
        "llmd_request_ttft_seconds_count{model_name=\"m\"} 1",
        "llmd_scheduler_e2e_duration_seconds_count 1",
        "llmd_request_input_tokens_total{model_name=\"m\"} 9",
        "llmd_request_cached_tokens_total{model_name=\"m\"} 8",
        "llmd_request_output_tokens_total{model_name=\"m\"} 2",
        "llmd_ready_endpoints{name=\"m\"} 1",
        "llmd_inflight_requests{endpoint_name=\"e0\"} 0",
        "llmd_endpoint_ejected{endpoint_name=\"e0\"} 0",
    ] {
        assert!(answer.text().lines().any(|line| line == expected), "{expected} in\n{}", answer.text());
    }
}

#[tokio::test]
async fn what_engines_say_about_their_load_decides_when_a_plugin_asks_for_it() {
    let (busy, idle) = (Engine::well().await, Engine::well().await);
    busy.set_metrics("vllm:num_requests_waiting 9\n");
    idle.set_metrics("vllm:num_requests_waiting 0\n");
    let entries = vec![busy.entry("busy"), idle.entry("idle")];
    let (_gateway, client) = gateway_of(settings(), BY_LOAD, entries).await;
    let mut in_a_row = 0;
    eventually("the idle one gets ten in a row", async || {
        let idle = client.complete().await.header("x-llmd-endpoint") == "idle";
        in_a_row = if idle { in_a_row + 1 } else { 0 };
        in_a_row == 10
    })
    .await;

    busy.set_metrics("vllm:num_requests_waiting 0\n");
    idle.set_metrics("vllm:num_requests_waiting 9\n");
    eventually("the other is idle now", async || client.complete().await.header("x-llmd-endpoint") == "busy").await;
}

#[tokio::test]
async fn a_decision_is_explained_by_the_requests_id() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let answer = client.complete().await;
    let told = client.get(&format!("/debug/decisions/{}", answer.header("x-request-id"))).await;

    assert_eq!(told.status, 200);
    assert!(told.text().contains("for model m") && told.text().contains("e0"), "{}", told.text());
    assert_eq!(client.get("/debug/decisions/nobody").await.status, 404);
    assert!(answer.header("x-llmd-decision-us").parse::<f64>().unwrap() > 0.0);
    assert_eq!(answer.header("x-llmd-predicted-cached-tokens"), "0");
    assert_eq!(answer.header("x-llmd-attempts"), "1");
}

#[tokio::test]
async fn only_so_many_decisions_are_remembered() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.limits.decisions = 2;
    let (_gateway, client) = gateway(settings, &[&engine]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.complete().await.header("x-request-id").to_owned());
    }
    let mut statuses = Vec::new();
    for id in &ids {
        statuses.push(client.get(&format!("/debug/decisions/{id}")).await.status);
    }
    assert_eq!(statuses, [404, 200, 200]);
}

#[tokio::test]
async fn the_scheduler_and_the_index_can_be_looked_at() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;

    assert!(client.get("/debug/scheduler").await.text().contains("round-robin-picker"));
    assert_eq!(client.get("/debug/index").await.json(), json!({"workers": []}), "no plugin needs events");
    assert_eq!(client.get("/debug/index/e0").await.error(), "no KV events of endpoint \"e0\" are followed");
}

#[tokio::test]
async fn without_debug_nothing_is_told() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.debug = false;
    let (_gateway, client) = gateway_of(settings, IN_TURN, vec![engine.entry("e0")]).await;
    let answer = client.complete().await;

    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("x-llmd-")), "{:?}", answer.headers);
    for path in ["/debug/index", "/debug/scheduler", "/debug/decisions/a"] {
        assert_eq!(client.get(path).await.status, 404);
    }
}
