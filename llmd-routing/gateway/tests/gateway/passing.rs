//! A request and its answer on their way through.

use http::{HeaderName, HeaderValue, Method};
use serde_json::json;

use crate::support::{Act, Engine, Stream, completion, eventually, finish, gateway, piece, settings};

/// An engine whose one stream the test holds.
async fn streaming() -> (Engine, Stream) {
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    let engine = Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await;
    (engine, stream)
}

#[tokio::test]
async fn a_stream_passes_piece_by_piece() {
    let (engine, stream) = streaming().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;

    stream.send("data: 1\n\n");
    let mut response = client.stream().await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(piece(&mut response).await, Some(Ok("data: 1\n\n".into())));
    for number in 2..20 {
        let text = format!("data: {number}\n\n");
        stream.send(&text);
        assert_eq!(piece(&mut response).await, Some(Ok(text)), "before the next one was even sent");
    }
    drop(stream);
    assert_eq!(piece(&mut response).await, None);
}

#[tokio::test]
async fn a_client_that_goes_away_in_a_stream_ends_the_request_at_the_engine_and_frees_its_place() {
    let (engine, stream) = streaming().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    stream.send("data: 1\n\n");
    let response = client.stream().await;
    assert_eq!(engine.under_way(), 1);
    assert!(client.get("/metrics").await.text().contains("llmd_inflight_requests{endpoint_name=\"e0\"} 1"));

    drop(response);
    eventually("the engine is told", async || engine.under_way() == 0).await;
    eventually("the place is free", async || {
        client.get("/metrics").await.text().contains("llmd_inflight_requests{endpoint_name=\"e0\"} 0")
    })
    .await;
    let metrics = client.get("/metrics").await;
    assert!(metrics.text().contains("llmd_request_error_total{model_name=\"m\",error_code=\"client_gone\"} 1"));
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_first_byte_ends_the_request_too() {
    let engine = Engine::start(|_| Act::Hang).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.stream().await }
    });
    eventually("the engine is asked", async || engine.under_way() == 1).await;

    asking.abort();
    eventually("the engine is told", async || engine.under_way() == 0).await;
    eventually("the place is free", async || {
        client.get("/metrics").await.text().contains("llmd_inflight_requests{endpoint_name=\"e0\"} 0")
    })
    .await;
}

#[tokio::test]
async fn a_body_goes_on_byte_for_byte() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let body = r#"{ "model":"m",   "prompt" : [1, 2,3], "temperature": 1.50e0, "unknown": {"b":1,"a":2} }"#;
    client.send(client.request(Method::POST, "/v1/completions?x=1", body)).await;

    let seen = &engine.seen()[0];
    assert_eq!((seen.path.as_str(), &seen.body[..]), ("/v1/completions?x=1", body.as_bytes()));
}

#[tokio::test]
async fn what_clients_must_not_set_is_taken_out() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let body = r#"{"model":"m","kv_transfer_params":{"do_remote_prefill":true},"prompt":"a"}"#;
    let mut request = client.request(Method::POST, "/v1/completions", body);
    let routing = [
        "x-prefiller-host-port",
        "x-kv-cache-source-host-port",
        "x-encoder-hosts-ports",
        "x-data-parallel-rank",
        "x-gateway-destination-endpoint",
    ];
    for name in routing {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static("10.0.0.1:1"));
    }
    assert_eq!(client.send(request).await.status, 200);

    let seen = &engine.seen()[0];
    assert_eq!(seen.body, r#"{"model":"m","prompt":"a"}"#);
    for name in routing {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn trace_and_request_id_pass_and_hops_do_not() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let mut request = client.request(Method::POST, "/v1/completions", r#"{"model":"m","prompt":"a"}"#);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = [("traceparent", trace), ("x-request-id", "mine"), ("authorization", "Bearer k"), ("te", "trailers")];
    for (name, value) in sent {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let answer = client.send(request).await;
    assert_eq!(answer.header("x-request-id"), "mine");

    let seen = engine.seen().remove(0).headers;
    assert_eq!(
        (&seen["traceparent"], &seen["x-request-id"], &seen["authorization"]),
        (&HeaderValue::from_static(trace), &HeaderValue::from_static("mine"), &HeaderValue::from_static("Bearer k"),)
    );
    assert_eq!(seen["host"], engine.address().to_string());
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert!(!seen.contains_key("te"));
}

#[tokio::test]
async fn a_request_without_an_id_is_given_one() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let answer = client.complete().await;

    let id = answer.header("x-request-id");
    assert_eq!(id.len(), 32);
    assert_eq!(engine.seen()[0].headers["x-request-id"], id);
    assert_eq!(client.get("/nothing").await.header("x-request-id").len(), 32, "refusals have one, too");
}

#[tokio::test]
async fn an_engines_own_error_is_passed_on() {
    let engine = Engine::start(|_| Act::Answer(422, r#"{"error":"mine"}"#.into())).await;
    let other = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine, &other]).await;
    let answers = [client.complete().await, client.complete().await];

    let [unusual, usual] =
        if answers[0].status == 200 { [&answers[1], &answers[0]] } else { [&answers[0], &answers[1]] };
    assert_eq!((unusual.status, unusual.text()), (422, r#"{"error":"mine"}"#));
    assert_eq!(usual.status, 200);
    assert_eq!(engine.seen().len(), 1, "and is not tried again elsewhere");
    assert_eq!(other.seen().len(), 1);
}

#[tokio::test]
async fn any_post_with_a_model_is_passed_on() {
    let engine = Engine::start(|_| Act::Answer(200, r#"{"object":"list"}"#.into())).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let answer = client.post("/v1/embeddings", &json!({"model": "m", "input": "hi"})).await;

    assert_eq!((answer.status, answer.text()), (200, r#"{"object":"list"}"#));
    assert_eq!(engine.seen()[0].path, "/v1/embeddings");
}

#[tokio::test]
async fn connections_to_engines_are_used_again_and_http_2_is_spoken_to_clients() {
    let engine = Engine::start(|_| completion()).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let tcp = tokio::net::TcpStream::connect(client.server()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tcp);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = client.request(Method::POST, "/v1/completions", r#"{"model":"m","prompt":"a"}"#);
        let answer = finish(sender.send_request(request).await.unwrap()).await;
        assert_eq!((answer.status, answer.whole), (200, true));
    }
}
