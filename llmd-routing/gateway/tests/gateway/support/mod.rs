//! Engines to stand behind a gateway, clients to stand before it, and a gateway in between.

mod client;
mod engine;

use std::time::Duration;

use llmd_gateway::{EndpointEntry, Endpoints, Gateway, RunningGateway, Settings};
use llmd_routing::EndpointPickerConfig;

pub(crate) use client::{Client, finish, piece};
pub(crate) use engine::{Act, Engine, Stream, completion, entry};

/// How long a test waits for what must come; far longer than it takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Endpoints in turn, so that a test knows who is asked.
pub(crate) const IN_TURN: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: round-robin-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: round-robin-picker
";

/// Settings whose debug headers tell who answered.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.debug = true;
    settings.seed = Some(7);
    settings
}

/// A gateway before these engines, which are called e0, e1, … and asked in turn.
pub(crate) async fn gateway(settings: Settings, engines: &[&Engine]) -> (RunningGateway, Client) {
    let entries = engines.iter().enumerate().map(|(number, engine)| engine.entry(&format!("e{number}"))).collect();
    gateway_of(settings, IN_TURN, entries).await
}

/// A gateway with this configuration before these endpoints; ready when every one of them has said what it serves.
pub(crate) async fn gateway_of(
    settings: Settings,
    config: &str,
    entries: Vec<EndpointEntry>,
) -> (RunningGateway, Client) {
    let count = entries.len();
    let running = Gateway::builder(settings)
        .config(EndpointPickerConfig::from_yaml(config).unwrap())
        .endpoints(Endpoints::Fixed(entries))
        .start()
        .await
        .unwrap();
    let client = Client::of(running.local_addr());
    if count > 0 {
        eventually("the gateway knows its models", async || client.get("/ready").await.status == 200).await;
    }
    (running, client)
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "it never came true that {what}");
}

/// What must come in time.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(DEADLINE, future).await else { panic!("{what} did not come") };
    value
}
