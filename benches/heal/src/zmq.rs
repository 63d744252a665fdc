//! Engines' event sockets, as a plain subscriber sees them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use llmd_core::{Error, ErrorKind, Result};
use zeromq::{
    DealerSocket, Socket as _, SocketEvent, SocketOptions, SocketRecv as _, SocketSend as _, SubSocket, ZmqMessage,
    ZmqResult,
};

/// The number that ends an answer.
const END: u64 = u64::MAX;
/// How long an engine may say nothing in the middle of an answer, or take to connect.
const SILENCE: Duration = Duration::from_secs(2);

/// A stream that is connected, and ends when the connection does.
pub(crate) struct Stream {
    socket: SubSocket,
    events: BoxStream<'static, SocketEvent>,
}

impl Stream {
    /// Connects to where an engine publishes.
    pub(crate) async fn connect(endpoint: &str) -> ZmqResult<Self> {
        let mut options = SocketOptions::default();
        options.connect_timeout(SILENCE);
        let mut socket = SubSocket::with_options(options);
        socket.subscribe("").await?;
        socket.connect(endpoint).await?;
        let events = socket.monitor().boxed();
        Ok(Self { socket, events })
    }

    /// The next message; `None` when the connection broke.
    pub(crate) async fn next(&mut self) -> Option<ZmqMessage> {
        loop {
            tokio::select! {
                biased;
                message = self.socket.recv() => return message.ok(),
                event = self.events.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return None,
                    Some(_) => {}
                },
            }
        }
    }
}

/// The batches that an engine replays from number `from` on.
pub(crate) async fn replay(endpoint: &str, from: u64) -> Result<Vec<(u64, Bytes)>> {
    let unavailable =
        |error| Error::new(ErrorKind::Unavailable, format!("{endpoint} does not replay")).with_source(error);
    let mut options = SocketOptions::default();
    options.connect_timeout(SILENCE);
    let mut socket = DealerSocket::with_options(options);
    socket.connect(endpoint).await.map_err(unavailable)?;
    let mut question = ZmqMessage::from(Bytes::new());
    question.push_back(Bytes::copy_from_slice(&from.to_be_bytes()));
    socket.send(question).await.map_err(unavailable)?;
    let mut batches = Vec::new();
    loop {
        let message = tokio::time::timeout(SILENCE, socket.recv()).await;
        let message = message.map_err(|_| silent(endpoint))?.map_err(unavailable)?;
        match numbered(&message)? {
            (END, payload) if payload.is_empty() => return Ok(batches),
            batch => batches.push(batch),
        }
    }
}

/// The last two frames of a message: a number and a payload.
pub(crate) fn numbered(message: &ZmqMessage) -> Result<(u64, Bytes)> {
    let frames: Vec<_> = message.iter().collect();
    let [.., number, payload] = &frames[..] else {
        return Err(corrupt(format!("{} frames; expected a number and a payload", frames.len())));
    };
    let bytes = <[u8; 8]>::try_from(&number[..])
        .map_err(|_| corrupt(format!("a number of {} bytes; expected 8", number.len())))?;
    Ok((u64::from_be_bytes(bytes), Bytes::clone(payload)))
}

fn silent(endpoint: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{endpoint} said nothing for {} s", SILENCE.as_secs()))
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
