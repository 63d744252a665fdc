//! A relay between an engine's events and whoever follows them that loses some of them on the way.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_fleet::replay::numbered;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::task::AbortOnDropHandle;
use zeromq::{PubSocket, Socket as _, SocketSend as _, ZmqError};

use crate::clock::Clock;
use crate::zmq::Stream;

/// One of so many batches is lost.
const ONE_OF: u32 = 100;

/// Passes on what an engine publishes and loses some of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where it publishes.
    pub(crate) endpoint: String,
    lost: Arc<Mutex<Vec<(Duration, u64)>>>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    /// Begins to relay what is published at `events`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when nobody publishes there, or no port is free.
    pub(crate) async fn start(events: &str, clock: Clock, seed: u64) -> Result<Self> {
        let failed =
            |error: ZmqError| Error::new(ErrorKind::Unavailable, format!("cannot relay {events}")).with_source(error);
        let from = Stream::connect(events).await.map_err(failed)?;
        let mut to = PubSocket::new();
        let endpoint = to.bind("tcp://127.0.0.1:0").await.map_err(failed)?.to_string();
        let lost = Arc::<Mutex<Vec<_>>>::default();
        let task = pass_on(from, to, clock, StdRng::seed_from_u64(seed), Arc::clone(&lost));
        Ok(Self { endpoint, lost, _task: AbortOnDropHandle::new(tokio::spawn(task)) })
    }

    /// When which batches were lost.
    pub(crate) fn lost(&self) -> Vec<(Duration, u64)> {
        self.lost.lock().clone()
    }
}

async fn pass_on(
    mut from: Stream,
    mut to: PubSocket,
    clock: Clock,
    mut rng: StdRng,
    lost: Arc<Mutex<Vec<(Duration, u64)>>>,
) {
    while let Some(message) = from.next().await {
        match numbered(&message) {
            Ok((seq, _)) if rng.random_range(0..ONE_OF) == 0 => lost.lock().push((clock.now(), seq)),
            _ if to.send(message).await.is_err() => return,
            _ => {}
        }
    }
}
