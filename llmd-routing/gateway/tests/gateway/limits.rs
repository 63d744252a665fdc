//! What is too much, and what is wrong: each with the answer that says so.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Act, Client, Engine, eventually, gateway, settings, soon};

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.limits.body_bytes = 100;
    let (_gateway, client) = gateway(settings, &[&engine]).await;
    let answer = client.send(client.request(Method::POST, "/v1/completions", vec![b' '; 101])).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.error(), "the request's body is larger than the 100 bytes that are taken");

    let chunk = format!("32\r\n{}\r\n", " ".repeat(0x32));
    let head = "POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = raw(&client, &format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(engine.seen().is_empty());
}

/// What a server says to bytes that no client would send.
async fn raw(client: &Client, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(client.server()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match soon("an answer", stream.read(&mut piece)).await.unwrap() {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused_with_the_reason() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let table = [
        ("", "EOF while parsing"),
        ("not json", "expected ident at line 1"),
        ("[]", "expected a JSON object"),
        (r#"{"prompt":"a"}"#, "the request's body names no model"),
        (r#"{"model":""}"#, "the request's body names no model"),
        (r#"{"model":7}"#, "expected a string"),
        (r#"{"model":"m","model":"n"}"#, "duplicate field `model`"),
    ];
    for (body, why) in table {
        let answer = client.send(client.request(Method::POST, "/v1/completions", body)).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.error().contains(why), "{body}: {}", answer.error());
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    assert!(engine.seen().is_empty());
}

#[tokio::test]
async fn a_prompt_that_cannot_be_read_is_the_engines_to_refuse() {
    let engine = Engine::start(|_| Act::Answer(400, "no".into())).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let answer = client.post("/v1/completions", &json!({"model": "m", "prompt": {"a": 1}})).await;
    assert_eq!((answer.status, answer.text()), (400, "no"));
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.timeouts.request_body = Duration::from_millis(50);
    let (_gateway, client) = gateway(settings, &[&engine]).await;

    let answer = raw(&client, "POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_to_come_again() {
    let engine = Engine::start(|_| Act::Hang).await;
    let mut settings = settings();
    settings.limits.requests = 1;
    let (_gateway, client) = gateway(settings, &[&engine]).await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.stream().await }
    });
    eventually("the first is under way", async || engine.under_way() == 1).await;

    let answer = client.complete().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.error(), "1 requests are under way, and more are not taken");
    assert_eq!(client.get("/health").await.status, 200, "what the gateway says about itself is no such request");

    let metrics = client.get("/metrics").await;
    assert!(metrics.text().contains("llmd_request_refused_total{error_code=\"503\"} 1"), "{}", metrics.text());

    first.abort();
    eventually("the first is gone", async || engine.under_way() == 0).await;
    let second = tokio::spawn(async move { client.stream().await });
    eventually("there is room again", async || engine.under_way() == 1).await;
    second.abort();
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed_say_so() {
    let (_gateway, client) = gateway(settings(), &[]).await;
    assert_eq!(client.get("/nothing").await.error(), "there is nothing at /nothing");

    let answer = client.get("/v1/completions").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST, OPTIONS"));
    let answer = client.send(client.request(Method::OPTIONS, "/v1/completions", Bytes::new())).await;
    assert_eq!((answer.status, answer.header("allow")), (204, "POST, OPTIONS"));
    let answer = client.send(client.request(Method::HEAD, "/health", Bytes::new())).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    let answer = client.send(client.request(Method::POST, "/metrics", Bytes::new())).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn what_is_no_http_costs_nobody_else_anything() {
    let engine = Engine::well().await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;

    let answer = raw(&client, "\x16\x03\x01 hello\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(client.complete().await.status, 200);
}
