//! What goes into a sequencer and what comes out.

use std::time::Duration;

use crate::state::WorkerState;

/// A batch with what the sequencer must know about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Numbered<B> {
    /// Its number in the stream. One with 2^64 - 1, which ends a replay and is no batch, is dropped.
    pub seq: u64,
    /// A hash of its bytes as published. Two batches of one number are taken for one when theirs are equal.
    pub fingerprint: u64,
    /// When the engine made it, by its own clock, where that is known. It is looked at only where a stream and its
    /// replays come in by one door.
    pub made_at: Option<Duration>,
    /// Whether it says that every block in GPU memory is gone.
    pub clears_gpu: bool,
    /// Whether it speaks of blocks that lie elsewhere.
    pub beyond_gpu: bool,
    /// Whether part of it could not be read, so that something is not known from here on.
    pub unreadable: bool,
    /// The batch.
    pub batch: B,
}

impl<B> Numbered<B> {
    /// A batch that clears nothing, speaks of GPU memory only and could be read.
    pub const fn new(seq: u64, fingerprint: u64, batch: B) -> Self {
        Self { seq, fingerprint, made_at: None, clears_gpu: false, beyond_gpu: false, unreadable: false, batch }
    }

    /// The same, made at this time of the engine's clock.
    #[must_use]
    pub fn made_at(self, made_at: Option<Duration>) -> Self {
        Self { made_at, ..self }
    }

    /// The same, which says that every block in GPU memory is gone.
    #[must_use]
    pub fn clearing_gpu(self, clears_gpu: bool) -> Self {
        Self { clears_gpu, ..self }
    }

    /// The same, which speaks of blocks that lie elsewhere too.
    #[must_use]
    pub fn beyond_gpu(self, beyond_gpu: bool) -> Self {
        Self { beyond_gpu, ..self }
    }

    /// The same, part of which could not be read.
    #[must_use]
    pub fn unreadable(self, unreadable: bool) -> Self {
        Self { unreadable, ..self }
    }
}

/// What the driver of a sequencer does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step<B> {
    /// Apply this batch.
    Apply {
        /// Its number.
        seq: u64,
        /// The batch.
        batch: B,
    },
    /// Forget every block of the worker.
    Clear,
    /// Ask the engine to replay from this number, inclusive. It takes the place of a replay under way.
    Replay {
        /// Names the replay, for its replies.
        id: ReplayId,
        /// The first number that is wanted.
        from: u64,
    },
    /// From here on the worker's blocks can be trusted this far.
    State(WorkerState),
}

/// Names one replay of one worker, so that replies to an earlier one can be told apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ReplayId(pub(super) u64);

/// What happened to one worker's stream so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SequencerCounts {
    /// Batches that were applied.
    pub applied: u64,
    /// Batches that came again and were skipped.
    pub duplicates: u64,
    /// Batches that were dropped: live ones beyond `max_waiting`, to be asked for later, and those whose number is none.
    pub dropped: u64,
    /// How often batches were found missing.
    pub gaps: u64,
    /// Replays that were asked for, probes included.
    pub replays: u64,
    /// How often the engine was found to have been started anew.
    pub restarts: u64,
}
