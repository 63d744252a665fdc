//! Asks an engine what it has published: by its replay socket, past any index.

use std::time::Duration;

use bytes::Bytes;
use llmd_core::{Error, ErrorKind, Result};
use zeromq::{DealerSocket, Socket as _, SocketOptions, SocketRecv as _, SocketSend as _, ZmqMessage};

/// How long an engine may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// The number that ends an answer.
const END: u64 = u64::MAX;

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
    /// [`ErrorKind::Unavailable`] when the engine does not answer.
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
        ask(&self.endpoint, 0).await
    }

    /// Whether there was something new.
    async fn advance(&mut self) -> Result<bool> {
        let newest = ask(&self.endpoint, self.next).await?.into_iter().map(|(number, _)| number).max();
        self.next = newest.map_or(self.next, |newest| newest + 1);
        Ok(newest.is_some())
    }
}

/// The batches from number `from` on.
async fn ask(endpoint: &str, from: u64) -> Result<Vec<(u64, Bytes)>> {
    let unavailable = |error| {
        Error::new(ErrorKind::Unavailable, format!("the replay socket {endpoint} does not answer")).with_source(error)
    };
    let mut options = SocketOptions::default();
    options.connect_timeout(SILENCE);
    let mut socket = DealerSocket::with_options(options);
    socket.connect(endpoint).await.map_err(unavailable)?;
    let mut question = ZmqMessage::from(Bytes::new());
    question.push_back(Bytes::copy_from_slice(&from.to_be_bytes()));
    socket.send(question).await.map_err(unavailable)?;
    let mut batches = Vec::new();
    loop {
        let Ok(message) = tokio::time::timeout(SILENCE, socket.recv()).await else {
            let message = format!("the replay socket {endpoint} has said nothing for {} s", SILENCE.as_secs());
            return Err(Error::new(ErrorKind::Unavailable, message));
        };
        match numbered(message.map_err(unavailable)?)? {
            (END, payload) if payload.is_empty() => return Ok(batches),
            batch => batches.push(batch),
        }
    }
}

/// The last two frames: a number and a payload.
pub(super) fn numbered(message: ZmqMessage) -> Result<(u64, Bytes)> {
    let frames = message.into_vec();
    let [.., number, payload] = &frames[..] else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("{} frames: expected a number and a payload", frames.len()),
        ));
    };
    let bytes = <[u8; 8]>::try_from(&number[..])
        .map_err(|_| Error::new(ErrorKind::Corrupt, format!("a number of {} bytes: expected 8", number.len())))?;
    Ok((u64::from_be_bytes(bytes), payload.clone()))
}

#[cfg(test)]
mod tests {
    use zeromq::RouterSocket;

    use super::*;

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

    #[test]
    fn what_has_no_number_is_corrupt() {
        let error = numbered(ZmqMessage::from(Bytes::from_static(b"alone"))).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Corrupt, "1 frames: expected a number and a payload".to_owned())
        );
    }
}
