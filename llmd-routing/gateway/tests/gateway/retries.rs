//! Endpoints that fail: before the first byte another is tried, after it none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    Act, Client, Engine, IN_TURN, Stream, completion, entry, eventually, finish, gateway, gateway_of, piece, settings,
};

const BAD: [&str; 4] =
    ["one that is not there", "one that closes", "one that closes after the head", "one that says 503"];

async fn bad(which: &str) -> Option<Engine> {
    Some(match which {
        "one that closes" => Engine::start(|_| Act::Die).await,
        "one that closes after the head" => Engine::start(|_| Act::DieAfterHead).await,
        "one that says 503" => Engine::start(|_| Act::Answer(503, "busy".into())).await,
        _ => return None,
    })
}

/// A gateway before `bad`, called e0, and `good`, called e1, in turn.
async fn before(bad: Option<&Engine>, good: &Engine) -> (llmd_gateway::RunningGateway, Client) {
    let bad = match bad {
        Some(engine) => engine.entry("e0"),
        None => entry("e0", Engine::nowhere().await),
    };
    gateway_of(settings(), IN_TURN, vec![bad.with_models(["m"]), good.entry("e1").with_models(["m"])]).await
}

#[tokio::test]
async fn a_request_that_has_not_begun_to_be_answered_moves_to_the_next_endpoint() {
    for which in BAD {
        let (bad, good) = (bad(which).await, Engine::well().await);
        let (_gateway, client) = before(bad.as_ref(), &good).await;

        for answer in [client.complete().await, client.complete().await] {
            assert_eq!((answer.status, answer.header("x-llmd-endpoint")), (200, "e1"), "{which}");
        }
        let metrics = client.get("/metrics").await;
        assert!(metrics.text().contains("llmd_retries_total{endpoint_name=\"e0\""), "{which}: {}", metrics.text());
        assert!(metrics.text().contains("llmd_inflight_requests{endpoint_name=\"e0\"} 0"), "{which}");
        assert!(metrics.text().contains("llmd_inflight_requests{endpoint_name=\"e1\"} 0"), "{which}");
    }
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_for_too_long_is_given_up() {
    let (silent, good) = (Engine::start(|_| Act::Hang).await, Engine::well().await);
    let mut settings = settings();
    settings.timeouts.first_byte = Duration::from_millis(100);
    let (_gateway, client) = gateway(settings, &[&silent, &good]).await;

    for answer in [client.complete().await, client.complete().await] {
        assert_eq!((answer.status, answer.header("x-llmd-endpoint")), (200, "e1"));
    }
    eventually("the silent one is told", async || silent.under_way() == 0).await;
}

#[tokio::test]
async fn when_nobody_is_left_the_client_is_told_what_the_last_one_did() {
    let engine = Engine::start(|_| Act::Die).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let answer = client.complete().await;
    assert_eq!(answer.status, 502);
    assert!(answer.error().starts_with("endpoint e0 broke off before its first byte"), "{}", answer.text());

    let engine = Engine::start(|_| Act::Answer(503, "my own words".into())).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    let answer = client.complete().await;
    assert_eq!((answer.status, answer.text()), (503, "my own words"));

    let engine = Engine::start(|_| Act::Hang).await;
    let mut patient = settings();
    patient.timeouts.first_byte = Duration::from_millis(50);
    let (_gateway, client) = gateway(patient, &[&engine]).await;
    let answer = client.complete().await;
    assert_eq!(
        (answer.status, answer.error()),
        (504, "endpoint e0 sent no byte within 50ms, and no other is left to try".into())
    );
}

#[tokio::test]
async fn no_more_endpoints_are_tried_than_allowed() {
    let engines =
        [Engine::start(|_| Act::Die).await, Engine::start(|_| Act::Die).await, Engine::start(|_| Act::Die).await];
    let mut settings = settings();
    settings.limits.attempts = 2;
    let (_gateway, client) = gateway(settings, &[&engines[0], &engines[1], &engines[2]]).await;

    assert_eq!(client.complete().await.status, 502);
    assert_eq!(engines.iter().map(|engine| engine.seen().len()).sum::<usize>(), 2);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off_and_is_not_tried_again() {
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    let engine = Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await;
    let (_gateway, client) = gateway(settings(), &[&engine]).await;
    stream.send("data: 1\n\n");
    let mut response = client.stream().await;
    assert_eq!(piece(&mut response).await, Some(Ok("data: 1\n\n".into())));

    stream.break_off();
    assert!(matches!(piece(&mut response).await, Some(Err(_))), "no clean end");
    assert_eq!(engine.seen().len(), 1);
    eventually("it is counted", async || {
        client.get("/metrics").await.text().contains("llmd_request_error_total{model_name=\"m\",error_code=\"cut\"} 1")
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_broken_off() {
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    let engine = Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await;
    let mut settings = settings();
    settings.timeouts.between_bytes = Duration::from_millis(100);
    let (_gateway, client) = gateway(settings, &[&engine]).await;
    stream.send("data: 1\n\n");

    let answer = finish(client.stream().await).await;
    assert_eq!((answer.text(), answer.whole), ("data: 1\n\n", false));
    eventually("the engine is told", async || engine.under_way() == 0).await;
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone_until_its_health_is_good() {
    let failing = Arc::new(AtomicBool::new(true));
    let sick = Engine::start({
        let failing = Arc::clone(&failing);
        move |_| if failing.load(Ordering::SeqCst) { Act::Die } else { completion() }
    })
    .await;
    let good = Engine::well().await;
    sick.set_healthy(false);
    let mut settings = settings();
    settings.ejection.consecutive_failures = 2;
    settings.ejection.base = Duration::from_millis(20);
    settings.ejection.probe_interval = Duration::from_millis(10);
    let (_gateway, client) = gateway(settings, &[&sick, &good]).await;

    for _ in 0..10 {
        assert_eq!(client.complete().await.status, 200);
    }
    assert_eq!(sick.seen().len(), 2, "after two failures nobody asks");
    assert!(client.get("/metrics").await.text().contains("llmd_ejections_total{endpoint_name=\"e0\"} 1"));
    assert!(client.get("/metrics").await.text().contains("llmd_endpoint_ejected{endpoint_name=\"e0\"} 1"));
    eventually("its health is asked for", async || sick.probes() > 2).await;
    assert_eq!(client.complete().await.header("x-llmd-endpoint"), "e1");

    failing.store(false, Ordering::SeqCst);
    sick.set_healthy(true);
    eventually("it is taken back", async || client.complete().await.header("x-llmd-endpoint") == "e0").await;
}

#[tokio::test]
async fn when_every_endpoint_is_left_alone_all_are_tried() {
    let failing = Arc::new(AtomicBool::new(true));
    let engine = Engine::start({
        let failing = Arc::clone(&failing);
        move |_| if failing.load(Ordering::SeqCst) { Act::Die } else { completion() }
    })
    .await;
    let mut settings = settings();
    settings.ejection.consecutive_failures = 1;
    settings.ejection.base = Duration::from_secs(3600);
    let (_gateway, client) = gateway(settings, &[&engine]).await;
    assert_eq!(client.complete().await.status, 502);
    assert_eq!(client.get("/ready").await.status, 503);

    failing.store(false, Ordering::SeqCst);
    assert_eq!(client.complete().await.status, 200);
}
