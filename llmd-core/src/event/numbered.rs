//! The payload of one message → a batch with its place in the order.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::{KvEvent, KvEventBatch, Numbered, decode_batch};
use crate::{Medium, Result};

/// Reads the payload of the message with this number, as [`decode_batch`] does, for a
/// [`Sequencer`](super::Sequencer).
///
/// A payload of which nothing can be read keeps its place: it is [`unreadable`](Numbered::unreadable), and the batch is
/// the error.
///
/// ```
/// use llmd_core::event::number_batch;
///
/// let numbered = number_batch(7, b"\x92\xca\x3f\x80\x00\x00\x91\x91\xb0AllBlocksCleared");
/// assert_eq!((numbered.seq, numbered.clears_gpu, numbered.unreadable), (7, true, false));
/// assert!(number_batch(8, b"what?").batch.is_err());
/// ```
pub fn number_batch(seq: u64, payload: &[u8]) -> Numbered<Result<KvEventBatch>> {
    let decoded = decode_batch(payload);
    let unreadable = decoded.as_ref().map_or(true, |batch| !batch.errors.is_empty());
    let events = decoded.as_ref().map_or(&[][..], |batch| &batch.events);
    let clears_gpu = events.contains(&KvEvent::AllBlocksCleared);
    let beyond_gpu = events.iter().any(KvEvent::is_beyond_gpu);
    let made_at = decoded.as_ref().ok().and_then(|batch| Duration::try_from_secs_f64(batch.timestamp).ok());
    Numbered::new(seq, xxh3_64(payload), decoded)
        .made_at(made_at)
        .clearing_gpu(clears_gpu)
        .beyond_gpu(beyond_gpu)
        .unreadable(unreadable)
}

impl KvEvent {
    /// Whether it speaks of blocks that do not lie in GPU memory.
    pub(super) fn is_beyond_gpu(&self) -> bool {
        match self {
            Self::AllBlocksCleared => false,
            Self::BlockRemoved(removed) => removed.medium != Medium::Gpu,
            Self::BlockStored(stored) => stored.medium != Medium::Gpu,
        }
    }
}
