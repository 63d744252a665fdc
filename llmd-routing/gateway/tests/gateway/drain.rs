//! A gateway that stops: what has begun may end.

use std::time::Duration;

use crate::support::{Act, Engine, Stream, eventually, finish, gateway, piece, settings, soon};

async fn streaming() -> (Engine, Stream) {
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    (Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await, stream)
}

#[tokio::test]
async fn a_stream_that_has_begun_ends_before_the_gateway_does() {
    let (engine, stream) = streaming().await;
    let (gateway, client) = gateway(settings(), &[&engine]).await;
    stream.send("data: 1\n\n");
    let mut response = client.stream().await;
    assert_eq!(piece(&mut response).await, Some(Ok("data: 1\n\n".into())));

    let stopping = tokio::spawn(gateway.shutdown());
    eventually("no more connections are taken", async || {
        tokio::net::TcpStream::connect(client.server()).await.is_err()
    })
    .await;
    assert!(!stopping.is_finished());
    stream.send("data: 2\n\n");
    drop(stream);
    let rest = finish(response).await;
    assert_eq!((rest.text(), rest.whole), ("data: 2\n\n", true));
    soon("the end", stopping).await.unwrap();
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let (engine, stream) = streaming().await;
    let mut settings = settings();
    settings.drain.timeout = Duration::from_millis(50);
    let (gateway, client) = gateway(settings, &[&engine]).await;
    stream.send("data: 1\n\n");
    let response = client.stream().await;

    soon("the end", gateway.shutdown()).await;
    assert!(!finish(response).await.whole);
    eventually("the engine is told", async || engine.under_way() == 0).await;
}

#[tokio::test]
async fn a_gateway_that_is_about_to_stop_says_so_and_still_serves() {
    let engine = Engine::well().await;
    let mut settings = settings();
    settings.drain.notice = Duration::from_secs(3600);
    let (gateway, client) = gateway(settings, &[&engine]).await;
    assert_eq!(client.get("/ready").await.status, 200);

    gateway.begin_drain();
    eventually("it says so", async || client.get("/ready").await.status == 503).await;
    assert_eq!(client.get("/ready").await.error(), "the gateway is stopping");
    assert_eq!(client.get("/health").await.status, 200);
    assert_eq!(client.complete().await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_is_dropped_stops_at_once() {
    let (engine, stream) = streaming().await;
    let (gateway, client) = gateway(settings(), &[&engine]).await;
    stream.send("data: 1\n\n");
    let response = client.stream().await;

    drop(gateway);
    assert!(!finish(response).await.whole);
    eventually("nobody listens", async || tokio::net::TcpStream::connect(client.server()).await.is_err()).await;
}
