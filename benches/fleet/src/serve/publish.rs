//! KV events over ZMQ: published as they come, kept for those who missed some.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use llmd_core::{Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use zeromq::{PubSocket, RouterSocket, Socket as _, SocketRecv as _, SocketSend as _, ZmqMessage};

use crate::model::CacheEvent;
use crate::splitmix::SplitMix64;
use crate::wire::{HashForm, encode_batch};

use super::clock::unix_seconds;

/// Batches that are kept for replay: vLLM's `buffer_steps`.
pub(super) const BUFFER_STEPS: usize = 10_000;
/// Batches that may wait for the publishing task: vLLM's `max_queue_size`.
pub(super) const MAX_QUEUE: usize = 100_000;
/// The sequence number that ends a replay.
const END_OF_REPLAY: [u8; 8] = [0xff; 8];

/// One numbered message.
#[derive(Clone, Debug)]
struct Batch {
    seq: u64,
    payload: Bytes,
}

/// Where the thread that steps the engine leaves its events.
#[derive(Debug)]
pub(super) struct Publisher {
    next_seq: u64,
    queue: Sender<Batch>,
}

/// How many batches the publishing task does not send, on purpose.
#[derive(Debug)]
pub(super) struct Faults {
    numbers: SplitMix64,
    /// The share of batches that subscribers never see. Replay has them all.
    drop_events: f64,
    dropped: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(0.0, 0)
    }
}

impl Faults {
    pub(super) const fn new(drop_events: f64, seed: u64) -> Self {
        Self { numbers: SplitMix64::new(seed), drop_events, dropped: 0 }
    }

    /// How many batches were dropped since the faults were set.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drops_this(&mut self) -> bool {
        let drops = self.drop_events > 0.0 && self.numbers.unit() < self.drop_events;
        self.dropped += u64::from(drops);
        drops
    }
}

impl Publisher {
    /// Numbers and queues a batch. When the queue is full the number is used up and the batch lost, as in vLLM.
    pub(super) fn publish(&mut self, events: &[CacheEvent]) {
        let payload = encode_batch(unix_seconds(), events, 0, HashForm::Int).into();
        let seq = self.next_seq;
        self.next_seq += 1;
        if self.queue.try_send(Batch { seq, payload }).is_err() {
            tracing::warn!(seq, "a batch of KV events was dropped: {MAX_QUEUE} wait");
        }
    }

    /// The number of the next batch.
    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }
}

/// Both sockets, bound.
pub(super) struct EventSockets {
    publish: PubSocket,
    replay: RouterSocket,
    queue: Receiver<Batch>,
    topic: Bytes,
    faults: Arc<Mutex<Faults>>,
}

impl EventSockets {
    /// Binds the sockets to these listeners.
    pub(super) async fn bind(
        publish_on: std::net::TcpListener,
        replay_on: std::net::TcpListener,
        topic: String,
        faults: Arc<Mutex<Faults>>,
    ) -> Result<(Self, Publisher), Error> {
        let failed =
            |error| Error::new(ErrorKind::Unavailable, "the event sockets cannot be opened").with_source(error);
        let (mut publish, mut replay) = (PubSocket::new(), RouterSocket::new());
        publish.bind_listener(publish_on).await.map_err(failed)?;
        replay.bind_listener(replay_on).await.map_err(failed)?;
        let (sender, queue) = channel(MAX_QUEUE);
        let publisher = Publisher { next_seq: 0, queue: sender };
        Ok((Self { publish, replay, queue, topic: topic.into(), faults }, publisher))
    }

    /// Publishes and answers until the engine's thread ends.
    pub(super) async fn serve(mut self) {
        let mut kept: VecDeque<Batch> = VecDeque::with_capacity(BUFFER_STEPS);
        loop {
            tokio::select! {
                // Batches first: what was published before a replay was asked for is in the replay.
                biased;
                batch = self.queue.recv() => {
                    let Some(batch) = batch else { return };
                    if kept.len() == BUFFER_STEPS {
                        kept.pop_front();
                    }
                    kept.push_back(batch.clone());
                    self.send(batch).await;
                }
                request = self.replay.recv() => {
                    // A request of another shape has no answer; vLLM logs it and goes on, too.
                    let Ok(request) = request else { continue };
                    self.answer(&request, &kept).await;
                }
            }
        }
    }

    async fn send(&mut self, batch: Batch) {
        if self.faults.lock().drops_this() {
            return;
        }
        let frames = [self.topic.clone(), Bytes::copy_from_slice(&batch.seq.to_be_bytes()), batch.payload];
        let message = message(frames);
        if let Err(error) = self.publish.send(message).await {
            tracing::warn!(%error, "a batch of KV events was not published");
        }
    }

    /// Answers `["", first number]` with `["", topic, number, payload]` for each batch that is kept, from that number on,
    /// and `["", "", ff × 8, ""]`.
    async fn answer(&mut self, request: &ZmqMessage, kept: &VecDeque<Batch>) {
        let (Some(peer), Some(start)) = (request.get(0), request.get(2).and_then(|seq| seq.as_ref().try_into().ok()))
        else {
            tracing::warn!(
                frames = request.len(),
                "a replay request was not understood, expected an empty frame and 8 bytes"
            );
            return;
        };
        let start = u64::from_be_bytes(start);
        for batch in kept.iter().filter(|batch| batch.seq >= start) {
            let seq = Bytes::copy_from_slice(&batch.seq.to_be_bytes());
            let frames = [peer.clone(), Bytes::new(), self.topic.clone(), seq, batch.payload.clone()];
            if self.replay.send(message(frames)).await.is_err() {
                return;
            }
        }
        let frames = [peer.clone(), Bytes::new(), Bytes::new(), Bytes::copy_from_slice(&END_OF_REPLAY), Bytes::new()];
        _ = self.replay.send(message(frames)).await;
    }
}

fn message<const N: usize>(frames: [Bytes; N]) -> ZmqMessage {
    ZmqMessage::try_from(frames.to_vec()).expect("there is a frame")
}
