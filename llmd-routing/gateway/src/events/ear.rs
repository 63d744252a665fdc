//! What a worker's tasks hear, and the way it takes to the writer.

use llmd_core::event::{Numbered, ReplayId};
use llmd_core::{Error, WorkerId};
use tokio::sync::mpsc;

use super::EngineSaid;
use super::wire::Decoded;

/// What a worker's tasks tell the writer.
#[derive(Debug)]
pub(super) enum Heard {
    /// The stream broke.
    Down,
    /// What the engine says of itself elsewhere.
    Engine(EngineSaid),
    Live(Numbered<Decoded>),
    /// Something came that is no message of a stream.
    Noise(Error),
    Reply(ReplayId, Numbered<Decoded>),
    ReplayEnded(ReplayId),
    ReplayFailed(ReplayId),
    /// The stream is connected.
    Up,
}

/// Takes what one watch of one worker hears to the writer.
#[derive(Clone, Debug)]
pub(super) struct Ear {
    pub(super) worker: WorkerId,
    /// Tells apart two watches of one worker.
    pub(super) watch: u64,
    pub(super) heard: mpsc::Sender<(WorkerId, u64, Heard)>,
}

impl Ear {
    pub(super) const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Waits while the writer is behind; `None` when it is gone.
    pub(super) async fn hear(&self, heard: Heard) -> Option<()> {
        self.heard.send((self.worker, self.watch, heard)).await.ok()
    }
}
