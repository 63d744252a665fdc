//! A relay between an engine's events and the gateway that loses some of them on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use llmd_core::{Error, ErrorKind, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::task::AbortOnDropHandle;
use zeromq::{PubSocket, Socket as _, SocketRecv as _, SocketSend as _, SubSocket, ZmqError};

/// Of so many batches in a row, one is lost.
pub(super) const ONE_OF: usize = 20;

/// Passes on what an engine publishes, and loses some of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where it publishes.
    pub(super) endpoint: String,
    lost: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    /// Begins to relay what is published at `events`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when nobody publishes there, or no port is free.
    pub(super) async fn start(events: &str, seed: u64) -> Result<Self> {
        let failed =
            |error: ZmqError| Error::new(ErrorKind::Unavailable, format!("cannot relay {events}")).with_source(error);
        let (mut from, mut to) = (SubSocket::new(), PubSocket::new());
        from.subscribe("").await.map_err(failed)?;
        from.connect(events).await.map_err(failed)?;
        let endpoint = to.bind("tcp://127.0.0.1:0").await.map_err(failed)?.to_string();
        let lost = Arc::new(AtomicUsize::new(0));
        let task = pass_on(from, to, Losses::new(seed), Arc::clone(&lost));
        Ok(Self { endpoint, lost, _task: AbortOnDropHandle::new(tokio::spawn(task)) })
    }

    /// How many batches have been lost so far.
    pub(super) fn lost(&self) -> usize {
        // A count that nothing else depends on.
        self.lost.load(Ordering::Relaxed)
    }
}

async fn pass_on(mut from: SubSocket, mut to: PubSocket, mut losses: Losses, lost: Arc<AtomicUsize>) {
    while let Ok(message) = from.recv().await {
        if losses.strike() {
            lost.fetch_add(1, Ordering::Relaxed);
        } else if to.send(message).await.is_err() {
            return;
        }
    }
}

/// Decides which batches are lost: one of every [`ONE_OF`], anywhere among them.
#[derive(Debug)]
struct Losses {
    rng: StdRng,
    place: usize,
    unlucky: usize,
}

impl Losses {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let unlucky = rng.random_range(0..ONE_OF);
        Self { rng, place: 0, unlucky }
    }

    fn strike(&mut self) -> bool {
        let strikes = self.place == self.unlucky;
        self.place += 1;
        if self.place == ONE_OF {
            (self.place, self.unlucky) = (0, self.rng.random_range(0..ONE_OF));
        }
        strikes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use zeromq::ZmqMessage;

    use super::*;

    #[test]
    fn one_of_twenty_is_lost_and_not_always_the_same() {
        let mut losses = Losses::new(7);
        let places: Vec<usize> = (0..40 * ONE_OF).filter(|_| losses.strike()).collect();

        assert_eq!(places.len(), 40);
        assert!((0..40).all(|n| places[n] / ONE_OF == n));
        assert!(places.iter().any(|place| place % ONE_OF != places[0] % ONE_OF));
    }

    #[tokio::test]
    async fn what_is_not_lost_arrives_in_order() {
        let mut engine = PubSocket::new();
        let events = engine.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let relay = Relay::start(&events, 7).await.unwrap();
        let mut gateway = SubSocket::new();
        gateway.subscribe("").await.unwrap();
        gateway.connect(&relay.endpoint).await.unwrap();

        // Subscriptions travel too: numbers are published until enough have arrived.
        let mut heard = Vec::new();
        let mut number = 0_u64;
        while heard.len() < 2 * ONE_OF {
            engine.send(ZmqMessage::from(Bytes::copy_from_slice(&number.to_be_bytes()))).await.unwrap();
            number += 1;
            while let Ok(Ok(message)) = tokio::time::timeout(Duration::from_millis(20), gateway.recv()).await {
                let frame = message.into_vec().remove(0);
                heard.push(u64::from_be_bytes(frame[..].try_into().unwrap()));
            }
        }

        assert!(heard.is_sorted());
        let gaps = heard.windows(2).filter(|two| two[1] != two[0] + 1).count();
        assert!(gaps >= 1 && relay.lost() >= gaps, "{gaps} gaps, {} lost", relay.lost());
    }
}
