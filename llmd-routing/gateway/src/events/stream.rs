//! Reads one worker's event stream, and connects again whenever it breaks.

use futures_util::StreamExt as _;
use zeromq::{Socket as _, SocketEvent, SocketOptions, SocketRecv as _, SubSocket, ZmqResult};

use super::ear::{Ear, Heard};
use super::wire::{self, Said};
use super::{EventSettings, KvEventSource};
use crate::Clock;

/// Reads the stream until the writer is gone.
///
/// Each connection has a socket of its own, so that what is read after [`Heard::Up`] and before [`Heard::Down`] came
/// over that one connection.
pub(super) async fn follow(source: KvEventSource, settings: EventSettings, clock: Clock, ear: Ear) {
    loop {
        match connect(&source, &settings).await {
            Ok(socket) => {
                if listen(socket, &ear).await.is_none() {
                    return;
                }
            }
            Err(error) => tracing::debug!(endpoint = source.endpoint, %error, "no event stream yet"),
        }
        clock.sleep_until(clock.now().saturating_add(settings.reconnect_after)).await;
    }
}

async fn connect(source: &KvEventSource, settings: &EventSettings) -> ZmqResult<SubSocket> {
    let mut options = SocketOptions::default();
    options.connect_timeout(settings.connect_timeout);
    let mut socket = SubSocket::with_options(options);
    socket.subscribe(&source.topic).await?;
    socket.connect(&source.endpoint).await?;
    Ok(socket)
}

/// Passes on what is said until the connection breaks; `None` when nobody listens any more.
async fn listen(mut socket: SubSocket, ear: &Ear) -> Option<()> {
    let mut events = socket.monitor();
    ear.hear(Heard::Up).await?;
    loop {
        let message = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(SocketEvent::Disconnected(_)) | None => break,
                Some(_) => continue,
            },
            message = socket.recv() => message,
        };
        let Ok(message) = message else { break };
        match wire::read(message) {
            Ok(Said::Batch(batch)) => ear.hear(Heard::Live(batch)).await?,
            Ok(Said::End) => {}
            Err(error) => ear.hear(Heard::Noise(error)).await?,
        }
    }
    ear.hear(Heard::Down).await
}
