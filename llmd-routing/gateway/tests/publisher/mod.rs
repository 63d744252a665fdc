//! An engine's event sockets as vLLM serves them: PUB for the stream, ROUTER for replay.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use llmd_gateway::events::KvEventSource;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use zeromq::{PubSocket, RouterSocket, Socket as _, SocketRecv as _, SocketSend as _, ZmqMessage};

/// Long enough for anything that is going to happen on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How answers to a replay are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// Up to vLLM 0.25.
    WithoutTopic,
    /// From vLLM 0.26.
    WithTopic,
}

/// An engine that publishes what it is told to.
pub(crate) struct Publisher {
    stream: PubSocket,
    remembered: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
    memory: usize,
    next: u64,
    replayer: JoinHandle<()>,
}

/// Two ports that nobody listens on.
pub(crate) fn free_source() -> KvEventSource {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [endpoint, replay] = listeners.map(|listener| format!("tcp://{}", listener.local_addr().unwrap()));
    KvEventSource { endpoint, replay_endpoint: Some(replay), topic: "kv@".into() }
}

impl Publisher {
    /// An engine that remembers its last `memory` batches and listens where `source` says.
    pub(crate) async fn start(source: &KvEventSource, memory: usize, form: Form) -> Self {
        let (mut stream, mut router) = (PubSocket::new(), RouterSocket::new());
        until("the stream's port is free", async || stream.bind(&source.endpoint).await.is_ok()).await;
        let replay = source.replay_endpoint.as_deref().unwrap();
        until("the replay port is free", async || router.bind(replay).await.is_ok()).await;
        let remembered = Arc::new(Mutex::new(VecDeque::new()));
        let replayer = tokio::spawn(answer(router, Arc::clone(&remembered), form));
        Self { stream, remembered, memory, next: 0, replayer }
    }

    /// Publishes a batch that stores one block.
    pub(crate) async fn store(&mut self, block: u64) {
        self.publish(stored(block)).await;
    }

    /// Publishes a batch that stores one block, which is lost on the way.
    pub(crate) fn lose(&mut self, block: u64) {
        let payload = stored(block);
        self.remember(payload.into());
    }

    /// Publishes a payload.
    pub(crate) async fn publish(&mut self, payload: Vec<u8>) {
        let payload = Bytes::from(payload);
        let frames = [Bytes::from("kv@engine"), number(self.next), payload.clone()];
        self.stream.send(message(frames)).await.unwrap();
        self.remember(payload);
    }

    /// Goes down, as an engine that is killed.
    pub(crate) async fn kill(self) {
        self.replayer.abort();
        drop(self.replayer.await);
        drop(self.stream.close().await);
    }

    fn remember(&mut self, payload: Bytes) {
        let mut remembered = self.remembered.lock();
        remembered.push_back((self.next, payload));
        if remembered.len() > self.memory {
            remembered.pop_front();
        }
        self.next += 1;
    }
}

async fn answer(mut router: RouterSocket, remembered: Arc<Mutex<VecDeque<(u64, Bytes)>>>, form: Form) {
    loop {
        let Ok(question) = router.recv().await else { continue };
        let frames = question.into_vec();
        let [peer, delimiter, from] = &frames[..] else { panic!("{frames:?} is no question") };
        assert!(delimiter.is_empty());
        let from = u64::from_be_bytes(from[..].try_into().unwrap());
        let mut answers: Vec<_> = remembered.lock().iter().filter(|(seq, _)| *seq >= from).cloned().collect();
        answers.push((u64::MAX, Bytes::new()));
        for (seq, payload) in answers {
            let topic = if payload.is_empty() { Bytes::new() } else { Bytes::from("kv@engine") };
            let mut frames = vec![peer.clone(), Bytes::new(), topic, number(seq), payload];
            if form == Form::WithoutTopic {
                frames.remove(2);
            }
            if router.send(message(frames)).await.is_err() {
                break; // who asked is gone
            }
        }
    }
}

/// The payload of a batch that stores one block of 4 tokens.
pub(crate) fn stored(block: u64) -> Vec<u8> {
    batch(&[store_event(block)])
}

/// The event that stores one block of 4 tokens.
pub(crate) fn store_event(block: u64) -> Value {
    json!({"type": "BlockStored", "block_hashes": [block], "parent_block_hash": null,
           "token_ids": [block, 1, 2, 3], "block_size": 4, "lora_id": null, "medium": "GPU", "lora_name": null})
}

/// The payload of a batch.
pub(crate) fn batch(events: &[Value]) -> Vec<u8> {
    rmp_serde::to_vec_named(&json!([1.5, events, 0])).unwrap()
}

/// Waits until `holds`, and fails when it does not within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain until {what}");
}

fn number(seq: u64) -> Bytes {
    Bytes::copy_from_slice(&seq.to_be_bytes())
}

fn message(frames: impl Into<Vec<Bytes>>) -> ZmqMessage {
    frames.into().try_into().unwrap()
}
