//! Asks an engine what it has published: by its replay socket, past any index.

use std::time::Duration;

use bytes::Bytes;
use llmd_core::Result;
use llmd_fleet::replay::replay;

/// How long an engine may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(30);

/// An engine's replay socket, and how far it has been read.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) endpoint: String,
    /// The first number that has not been seen.
    next: u64,
}

impl Replay {
    /// The replay socket at `endpoint`, of which nothing has been read.
    pub(super) const fn of(endpoint: String) -> Self {
        Self { endpoint, next: 0 }
    }

    /// The engine has been started anew and counts from 0.
    pub(super) const fn begin_again(&mut self) {
        self.next = 0;
    }

    /// The number of the last batch of an engine that has nothing to do; `None` when it has published none.
    ///
    /// An engine queues the events of a step before it gives the step's tokens away. One thread takes from that queue, and
    /// looks for questions between any two batches: two answers in a row that say the same mean that the queue was empty
    /// after the first.
    ///
    /// # Errors
    ///
    /// [`llmd_core::ErrorKind::Unavailable`] when the engine does not answer.
    pub(super) async fn last(&mut self) -> Result<Option<u64>> {
        self.advance().await?;
        while self.advance().await? {}
        Ok(self.next.checked_sub(1))
    }

    /// Every batch that the engine remembers, by number.
    ///
    /// # Errors
    ///
    /// As [`last`](Self::last).
    pub(super) async fn all(&self) -> Result<Vec<(u64, Bytes)>> {
        replay(&self.endpoint, 0, SILENCE).await
    }

    /// Whether there was something new.
    async fn advance(&mut self) -> Result<bool> {
        let newest = replay(&self.endpoint, self.next, SILENCE).await?.into_iter().map(|(number, _)| number).max();
        self.next = newest.map_or(self.next, |newest| newest + 1);
        Ok(newest.is_some())
    }
}

#[cfg(test)]
mod tests {
    use zeromq::{RouterSocket, Socket as _, SocketRecv as _, SocketSend as _, ZmqMessage};

    use super::*;

    /// The number that ends an answer.
    const END: u64 = u64::MAX;

    fn number(n: u64) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    /// An engine that has published one batch more at each of the first questions, three in all.
    async fn engine() -> (String, tokio::task::JoinHandle<()>) {
        let mut router = RouterSocket::new();
        let endpoint = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let answering = async move {
            for published in (1..=3).chain(std::iter::repeat(3)) {
                let Ok(question) = router.recv().await else { return };
                let frames = question.into_vec();
                let from = u64::from_be_bytes(frames.last().unwrap()[..].try_into().unwrap());
                let batches = (from..published).map(|n| (number(n), Bytes::from(format!("batch {n}"))));
                for (number, payload) in batches.chain([(number(END), Bytes::new())]) {
                    let answer = vec![frames[0].clone(), Bytes::new(), Bytes::from("topic"), number, payload];
                    router.send(ZmqMessage::try_from(answer).unwrap()).await.unwrap();
                }
            }
        };
        (endpoint, tokio::spawn(answering))
    }

    #[tokio::test]
    async fn the_last_number_is_known_when_an_answer_brings_nothing_new() {
        let (endpoint, engine) = engine().await;
        let mut replay = Replay::of(endpoint);

        assert_eq!(replay.last().await.unwrap(), Some(2));
        assert_eq!(replay.last().await.unwrap(), Some(2), "what is known is not asked for again");
        let all = replay.all().await.unwrap();
        assert_eq!(all.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(all[1].1, "batch 1");
        engine.abort();
    }
}
