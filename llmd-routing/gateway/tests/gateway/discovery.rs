//! An endpoints file that changes while requests pass.

use std::path::Path;
use std::time::Duration;

use llmd_gateway::{Endpoints, Gateway, RunningGateway, Settings};
use llmd_routing::EndpointPickerConfig;

use crate::support::{Act, Client, Engine, IN_TURN, Stream, eventually, finish, piece, settings};

fn impatient() -> Settings {
    let mut settings = settings();
    settings.polling.endpoints_file = Duration::from_millis(5);
    settings
}

async fn gateway_on(file: &Path) -> (RunningGateway, Client) {
    let running = Gateway::builder(impatient())
        .config(EndpointPickerConfig::from_yaml(IN_TURN).unwrap())
        .endpoints(Endpoints::File(file.to_owned()))
        .start()
        .await
        .unwrap();
    let client = Client::of(running.local_addr());
    eventually("the gateway is ready", async || client.get("/ready").await.status == 200).await;
    (running, client)
}

fn line(name: &str, engine: &Engine, more: &str) -> String {
    let address = engine.address();
    format!("- {{name: {name}, address: {}, port: {}, models: [m]{more}}}\n", address.ip(), address.port())
}

fn write(file: &Path, lines: &[String]) {
    std::fs::write(file, format!("endpoints:\n{}", lines.concat())).unwrap();
}

#[tokio::test]
async fn endpoints_come_and_go_and_no_request_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    let first = Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await;
    let second = Engine::well().await;
    write(&file, &[line("first", &first, "")]);
    let (_gateway, client) = gateway_on(&file).await;
    stream.send("data: 1\n\n");
    let mut response = client.stream().await;
    assert_eq!(piece(&mut response).await, Some(Ok("data: 1\n\n".into())));

    write(&file, &[line("second", &second, "")]);
    eventually("only the second is left", async || {
        let metrics = client.get("/metrics").await;
        metrics.text().contains("endpoint_name=\"second\"") && !metrics.text().contains("endpoint_name=\"first\"")
    })
    .await;
    for _ in 0..3 {
        assert_eq!(client.complete().await.header("x-llmd-endpoint"), "second");
    }
    stream.send("data: 2\n\n");
    drop(stream);
    let rest = finish(response).await;
    assert_eq!((rest.text(), rest.whole), ("data: 2\n\n", true));
}

#[tokio::test]
async fn what_is_in_flight_is_still_counted_when_labels_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    let (stream, act) = Stream::new();
    let act = parking_lot::Mutex::new(Some(act));
    let engine = Engine::start(move |_| act.lock().take().unwrap_or(Act::Hang)).await;
    write(&file, &[line("e", &engine, "")]);
    let (_gateway, client) = gateway_on(&file).await;
    stream.send("data: 1\n\n");
    let response = client.stream().await;

    let second = Engine::well().await;
    write(&file, &[line("e", &engine, ", labels: {llm-d.ai/role: decode}"), line("f", &second, "")]);
    eventually("the change is seen", async || {
        client.get("/metrics").await.text().contains("llmd_inflight_requests{endpoint_name=\"f\"} 0")
    })
    .await;
    assert!(client.get("/metrics").await.text().contains("llmd_inflight_requests{endpoint_name=\"e\"} 1"));
    drop(stream);
    finish(response).await;
    eventually("it is counted out", async || {
        client.get("/metrics").await.text().contains("llmd_inflight_requests{endpoint_name=\"e\"} 0")
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_wrong_keeps_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    let engine = Engine::well().await;
    let wrong = "- {name: no-port, address: h}\n- {name: odd, address: h, port: http}\n".to_owned();
    write(&file, &[wrong, line("good", &engine, "")]);
    let (_gateway, client) = gateway_on(&file).await;
    assert_eq!(client.complete().await.header("x-llmd-endpoint"), "good");

    let second = Engine::well().await;
    std::fs::write(&file, "endpoints: [").unwrap();
    assert_eq!(client.complete().await.header("x-llmd-endpoint"), "good");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(client.complete().await.header("x-llmd-endpoint"), "good");
    write(&file, &[line("better", &second, "")]);
    eventually("a good file is taken again", async || client.complete().await.header("x-llmd-endpoint") == "better")
        .await;
}
