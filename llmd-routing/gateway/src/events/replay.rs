//! Asks one worker for replay, whenever its sequencer wants one.

use std::sync::Arc;

use llmd_core::event::ReplayId;
use llmd_core::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, watch};
use zeromq::{DealerSocket, Socket as _, SocketOptions, SocketRecv as _, SocketSend as _, ZmqError};

use super::EventSettings;
use super::ear::{Ear, Heard};
use super::wire::{self, Said};
use crate::Clock;

/// The replay that is wanted: its name and the first number. A newer one takes the place of an older one.
pub(super) type Wanted = watch::Receiver<Option<(ReplayId, u64)>>;

/// Asks for replays at one endpoint, of which at most `max_replays` run at once over all workers.
#[derive(Debug)]
pub(super) struct Replayer {
    pub(super) endpoint: String,
    pub(super) settings: EventSettings,
    pub(super) clock: Clock,
    pub(super) turns: Arc<Semaphore>,
    pub(super) ear: Ear,
}

impl Replayer {
    /// Asks whenever a replay is wanted, until the writer is gone.
    pub(super) async fn serve(self, mut wanted: Wanted) {
        while wanted.changed().await.is_ok() {
            loop {
                let Some((id, from)) = *wanted.borrow_and_update() else { break };
                tokio::select! {
                    biased;
                    newer = wanted.changed() => if newer.is_err() { return },
                    () = self.answer(id, from) => break,
                }
            }
        }
    }

    async fn answer(&self, id: ReplayId, from: u64) {
        let Ok(_turn) = self.turns.acquire().await else { return };
        let outcome = match self.ask(id, from).await {
            Ok(()) => Heard::ReplayEnded(id),
            Err(error) => {
                tracing::debug!(endpoint = self.endpoint, from, %error, "a replay failed");
                Heard::ReplayFailed(id)
            }
        };
        self.ear.hear(outcome).await;
    }

    async fn ask(&self, id: ReplayId, from: u64) -> Result<()> {
        let deadline = self.clock.now().saturating_add(self.settings.replay_total);
        let mut options = SocketOptions::default();
        options.connect_timeout(self.settings.replay_idle);
        let mut socket = DealerSocket::with_options(options);
        socket.connect(&self.endpoint).await.map_err(unavailable)?;
        socket.send(wire::question(from)).await.map_err(unavailable)?;
        loop {
            let idle = self.clock.now().saturating_add(self.settings.replay_idle);
            let message = tokio::select! {
                biased;
                message = socket.recv() => message.map_err(unavailable)?,
                () = self.clock.sleep_until(idle.min(deadline)) => return Err(self.silent()),
            };
            match wire::read(message)? {
                Said::Batch(batch) => self.ear.hear(Heard::Reply(id, batch)).await.ok_or_else(gone)?,
                Said::End => return Ok(()),
            }
            if self.clock.now() >= deadline {
                return Err(self.silent());
            }
        }
    }

    fn silent(&self) -> Error {
        let EventSettings { replay_idle, replay_total, .. } = &self.settings;
        let message = format!("{} has not ended within {replay_idle:?} of silence or {replay_total:?}", self.endpoint);
        Error::new(ErrorKind::Unavailable, message)
    }
}

fn unavailable(error: ZmqError) -> Error {
    Error::new(ErrorKind::Unavailable, "the replay socket does not answer").with_source(error)
}

fn gone() -> Error {
    Error::new(ErrorKind::Stale, "nobody waits for the replay any more")
}
