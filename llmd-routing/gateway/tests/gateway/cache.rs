//! What engines say about their caches decides where prompts go.

use std::time::Duration;

use llmd_gateway::events::KvEventSource;
use llmd_gateway::{EndpointEntry, KvEventsEntry};
use serde_json::{Value, json};

use crate::publisher::{Form, Publisher, batch, free_source};
use crate::support::{Client, Engine, eventually, gateway_of, settings};

const BY_CACHE: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: precise-prefix-cache-producer
- type: prefix-cache-scorer
  parameters:
    prefixMatchInfoProducerName: precise-prefix-cache-producer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: prefix-cache-scorer
  - pluginRef: max-score-picker
";

/// An engine whose blocks have 4 tokens, and where it publishes.
async fn engine() -> (Engine, KvEventSource) {
    let engine = Engine::well().await;
    engine.set_metrics("vllm:cache_config_info{block_size=\"4\",num_gpu_blocks=\"100\"} 1.0\n");
    (engine, free_source())
}

fn with_events(entry: EndpointEntry, source: &KvEventSource) -> EndpointEntry {
    let mut events = KvEventsEntry::default();
    (events.endpoint, events.replay_endpoint) = (source.endpoint.clone(), source.replay_endpoint.clone());
    entry.with_kv_events(events)
}

/// The event that stores the blocks of tokens 1 to 8 as blocks 101 and 102.
fn stored(lora: Option<&str>) -> Value {
    json!({
        "type": "BlockStored", "block_hashes": [101, 102], "parent_block_hash": null, "block_size": 4, "medium": "GPU",
        "token_ids": [1, 2, 3, 4, 5, 6, 7, 8], "lora_id": null, "lora_name": lora,
    })
}

/// Asks with tokens 1 to 9, and says who answered and how many tokens were expected to be cached there.
async fn ask(client: &Client, model: &str, more: Value) -> (String, String) {
    let mut body = json!({"model": model, "prompt": [1, 2, 3, 4, 5, 6, 7, 8, 9]});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let answer = client.post("/v1/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let header = |name| answer.header(name).to_owned();
    (header("x-llmd-endpoint"), header("x-llmd-predicted-cached-tokens"))
}

#[tokio::test]
async fn a_prompt_goes_to_the_engine_that_says_it_has_it() {
    let ((cold, cold_source), (warm, warm_source)) = (engine().await, engine().await);
    let _cold = Publisher::start(&cold_source, 100, Form::WithTopic).await;
    let mut publisher = Publisher::start(&warm_source, 100, Form::WithTopic).await;
    publisher.publish(batch(&[stored(None)])).await;
    let entries = vec![with_events(cold.entry("cold"), &cold_source), with_events(warm.entry("warm"), &warm_source)];
    let (_gateway, client) = gateway_of(settings(), BY_CACHE, entries).await;

    eventually("its events are known", async || ask(&client, "m", json!({})).await == ("warm".into(), "8".into()))
        .await;
    assert_eq!(ask(&client, "m", json!({"cache_salt": "other"})).await.1, "0", "a tenant's salt keeps to itself");

    let index = client.get("/debug/index").await.json();
    let workers = index["workers"].as_array().unwrap();
    let warm = workers.iter().find(|worker| worker["name"] == "warm").unwrap();
    assert_eq!((&warm["state"], &warm["last_seq"]), (&json!("exact"), &json!(0)));
    assert!(warm["timeline"].as_array().unwrap().iter().any(|change| change["state"] == "exact"), "{warm}");
    let block = |hash: u64| json!({"hash": hash, "group": 0, "medium": "GPU", "copies": 1});
    assert_eq!(
        client.get("/debug/index/warm").await.json(),
        json!({"state": "exact", "seq": 0, "blocks": [block(101), block(102)]})
    );
    let metrics = client.get("/metrics").await;
    assert!(metrics.text().contains("llmd_index_state{endpoint_name=\"warm\",state=\"exact\"} 1"));
    assert!(metrics.text().contains("llmd_index_blocks{model_name=\"m\"} 2"));
}

#[tokio::test]
async fn an_engine_whose_counters_grow_while_its_stream_is_silent_is_approximate() {
    let (engine, source) = engine().await;
    let mut publisher = Publisher::start(&source, 100, Form::WithTopic).await;
    publisher.publish(batch(&[stored(None)])).await;
    let mut settings = settings();
    settings.polling.models = Duration::from_millis(20);
    settings.events.silence.patience = Duration::from_millis(100);
    let (_gateway, client) = gateway_of(settings, BY_CACHE, vec![with_events(engine.entry("e0"), &source)]).await;
    let is = async |line: &str| client.get("/metrics").await.text().contains(line);
    eventually("it is exact", async || is("llmd_index_state{endpoint_name=\"e0\",state=\"exact\"} 1").await).await;

    let mut looked_up = 0;
    eventually("its silence is noticed", async || {
        looked_up += 1000;
        engine.set_metrics(&format!(
            "vllm:cache_config_info{{block_size=\"4\",num_gpu_blocks=\"100\"}} 1.0\n\
             vllm:prefix_cache_queries_total {looked_up}\nvllm:prefix_cache_hits_total 0\n"
        ));
        is("llmd_kv_event_silent{endpoint_name=\"e0\"} 1").await
    })
    .await;
    assert!(is("llmd_index_state{endpoint_name=\"e0\",state=\"approximate\"} 1").await);
    assert!(is("llmd_kv_event_lag_seconds{endpoint_name=\"e0\"}").await);

    publisher.publish(batch(&[stored(None)])).await;
    eventually("it speaks", async || is("llmd_index_state{endpoint_name=\"e0\",state=\"exact\"} 1").await).await;
}

#[tokio::test]
async fn a_decision_tells_what_the_index_knew() {
    let (engine, source) = engine().await;
    let mut publisher = Publisher::start(&source, 100, Form::WithTopic).await;
    publisher.publish(batch(&[stored(None)])).await;
    let (_gateway, client) = gateway_of(settings(), BY_CACHE, vec![with_events(engine.entry("e0"), &source)]).await;
    eventually("its events are known", async || ask(&client, "m", json!({})).await.1 == "8").await;

    let answer = client.post("/v1/completions", &json!({"model": "m", "prompt": [1, 2, 3, 4, 0, 0, 0, 0, 9]})).await;
    let told = client.get(&format!("/debug/decisions/{}", answer.header("x-request-id"))).await;
    assert!(told.text().contains("worker 0 is e0"), "{}", told.text());
    assert!(told.text().contains("holds 1 leading; block 1 was never stored"), "{}", told.text());
}

#[tokio::test]
async fn an_engine_says_itself_where_it_publishes() {
    let (engine, source) = engine().await;
    let port = |endpoint: &str| endpoint.rsplit(':').next().unwrap().to_owned();
    engine.set_event_sources(json!({"0": {
        "enable_kv_cache_events": true,
        "endpoint": format!("tcp://*:{}", port(&source.endpoint)),
        "replay_endpoint": format!("tcp://*:{}", port(source.replay_endpoint.as_ref().unwrap())),
        "topic": "",
    }}));
    let mut publisher = Publisher::start(&source, 100, Form::WithTopic).await;
    publisher.publish(batch(&[stored(None)])).await;
    let (_gateway, client) = gateway_of(settings(), BY_CACHE, vec![engine.entry("e0")]).await;

    eventually("its events are known", async || ask(&client, "m", json!({})).await.1 == "8").await;
}

#[tokio::test]
async fn an_adapters_blocks_are_its_own() {
    let (engine, source) = engine().await;
    engine.set_models(&[("base", None), ("adapter", Some("base"))]);
    let mut publisher = Publisher::start(&source, 100, Form::WithTopic).await;
    publisher.publish(batch(&[stored(Some("adapter"))])).await;
    let (_gateway, client) = gateway_of(settings(), BY_CACHE, vec![with_events(engine.entry("e0"), &source)]).await;

    eventually("its events are known", async || ask(&client, "adapter", json!({})).await.1 == "8").await;
    assert_eq!(ask(&client, "base", json!({})).await.1, "0");
}
