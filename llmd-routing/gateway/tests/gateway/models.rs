//! Several models behind one gateway, each with its own pool.

use serde_json::json;

use crate::support::{Engine, IN_TURN, entry, eventually, gateway, gateway_of, settings};

#[tokio::test]
async fn each_model_has_the_endpoints_that_serve_it() {
    let (one, both) = (Engine::well().await, Engine::well().await);
    one.set_models(&[("a", None)]);
    both.set_models(&[("a", None), ("b", None)]);
    let (_gateway, client) = gateway(settings(), &[&one, &both]).await;
    eventually("both models are known", async || {
        let models = client.get("/v1/models").await.json();
        models["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).eq(["a", "b"])
    })
    .await;

    for _ in 0..4 {
        assert_eq!(client.post("/v1/completions", &json!({"model": "b"})).await.header("x-llmd-endpoint"), "e1");
    }
    assert!(one.seen().is_empty());
    eventually("both serve model a", async || {
        client.post("/v1/completions", &json!({"model": "a"})).await.status == 200 && !one.seen().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_model_that_nobody_serves_is_refused_with_those_that_are_served() {
    let engine = Engine::well().await;
    engine.set_models(&[("a", None), ("b", None)]);
    let (_gateway, client) = gateway(settings(), &[&engine]).await;

    let answer = client.post("/v1/completions", &json!({"model": "gpt-4"})).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error(), "The model `gpt-4` does not exist; served are: a, b");
    assert_eq!(answer.json()["error"]["param"], "model");
}

#[tokio::test]
async fn an_adapter_is_a_model_of_those_that_list_it() {
    let (with, without) = (Engine::well().await, Engine::well().await);
    with.set_models(&[("base", None), ("adapter", Some("base"))]);
    without.set_models(&[("base", None)]);
    let (_gateway, client) = gateway(settings(), &[&with, &without]).await;
    eventually("the adapter is known", async || {
        client.post("/v1/completions", &json!({"model": "adapter"})).await.status == 200
    })
    .await;

    for _ in 0..3 {
        assert_eq!(client.post("/v1/completions", &json!({"model": "adapter"})).await.header("x-llmd-endpoint"), "e0");
    }
    let models = client.get("/v1/models").await.json();
    let parents: Vec<_> =
        models["data"].as_array().unwrap().iter().map(|model| (model["id"].clone(), model["parent"].clone())).collect();
    assert_eq!(parents, [(json!("adapter"), json!("base")), (json!("base"), json!(null))]);
}

#[tokio::test]
async fn an_engine_that_is_not_up_yet_joins_when_it_is() {
    let address = Engine::nowhere().await;
    let present = Engine::well().await;
    let entries = vec![present.entry("e0"), entry("e1", address)];
    let (_gateway, client) = gateway_of(settings(), IN_TURN, entries).await;
    assert_eq!(client.complete().await.header("x-llmd-endpoint"), "e0");

    let _late = Engine::start_at(address, |_| crate::support::completion()).await;
    eventually("it is asked", async || client.complete().await.header("x-llmd-endpoint") == "e1").await;
}

#[tokio::test]
async fn a_gateway_that_knows_no_model_is_not_ready() {
    let (_gateway, client) = gateway_of(settings(), IN_TURN, vec![]).await;
    let answer = client.get("/ready").await;
    assert_eq!((answer.status, answer.error()), (503, "no endpoint has said yet which models it serves".into()));
    assert_eq!(client.get("/health").await.status, 200);

    let answer = client.complete().await;
    assert_eq!(answer.error(), "The model `m` does not exist; served are: none yet");
}
