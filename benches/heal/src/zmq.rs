//! Engines' event sockets, as a plain subscriber sees them.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use zeromq::{Socket as _, SocketEvent, SocketOptions, SocketRecv as _, SubSocket, ZmqMessage, ZmqResult};

/// How long an engine may say nothing in the middle of an answer, or take to connect.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

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
