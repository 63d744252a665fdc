//! What speaks against a stream that seems to be complete.

use std::time::Duration;

use super::{KvEvent, Silence, SilenceSettings};
use crate::Medium;
use crate::state::WorkerState;

/// What speaks against one worker's stream, though its numbers are without gaps. Whoever drives a
/// [`Sequencer`](super::Sequencer) asks it how far the sequencer's [`State`](super::Step::State) goes.
///
/// - **Silence.** The engine stores blocks and the stream says nothing of it.
/// - **Announced hits.** An engine that is asked to, by `kv_cache_report_mode: full` in a request's `vllm_xargs`, says
///   `BlockStored` of blocks that it had and found, and never a removal for that: copies that are counted do not exist.
///   The event looks like any other. Whoever sends such requests can say so; otherwise it shows when more copies are
///   counted in GPU memory than it has blocks.
///
/// In both cases the worker is never more than [`WorkerState::Approximate`]: until the stream speaks again, and for good.
#[derive(Clone, Copy, Debug)]
pub struct Doubts {
    silence: Silence,
    announces_hits: bool,
    gpu_blocks: Option<u64>,
    gpu_copies: u64,
}

impl Doubts {
    /// Nothing speaks against the stream.
    pub const fn new(settings: SilenceSettings) -> Self {
        Self { silence: Silence::new(settings), announces_hits: false, gpu_blocks: None, gpu_copies: 0 }
    }

    /// A batch was applied.
    pub fn applied(&mut self, events: &[KvEvent]) {
        self.silence.heard();
        for event in events {
            match event {
                KvEvent::AllBlocksCleared => self.gpu_copies = 0,
                KvEvent::BlockStored(stored) if stored.medium == Medium::Gpu => {
                    self.gpu_copies += stored.block_hashes.len() as u64;
                }
                KvEvent::BlockRemoved(removed) if removed.medium == Medium::Gpu => {
                    self.gpu_copies = self.gpu_copies.saturating_sub(removed.block_hashes.len() as u64);
                }
                KvEvent::BlockStored(_) | KvEvent::BlockRemoved(_) => {}
            }
        }
        self.count();
    }

    /// What was applied is forgotten.
    pub const fn cleared(&mut self) {
        self.gpu_copies = 0;
    }

    /// The engine stored at least so many blocks since this was last told, whatever its stream says: see [`Silence`].
    pub fn stored(&mut self, now: Duration, blocks: u64) {
        self.silence.stored(now, blocks);
    }

    /// GPU memory has so many blocks.
    pub fn set_gpu_blocks(&mut self, blocks: u64) {
        self.gpu_blocks = Some(blocks);
        self.count();
    }

    /// The engine announces hits: requests ask it to.
    pub const fn set_announces_hits(&mut self) {
        self.announces_hits = true;
    }

    /// Whether the engine is known to announce hits.
    pub const fn announces_hits(&self) -> bool {
        self.announces_hits
    }

    /// Whether the engine stores blocks while its stream says nothing.
    pub fn is_silent(&self, now: Duration) -> bool {
        self.silence.is_suspicious(now)
    }

    /// How far the worker can be trusted, when its numbers say `state`.
    pub fn judge(&self, now: Duration, state: WorkerState) -> WorkerState {
        if self.announces_hits || self.is_silent(now) { WorkerState::Approximate } else { state }
    }

    fn count(&mut self) {
        self.announces_hits |= self.gpu_blocks.is_some_and(|blocks| self.gpu_copies > blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{offloaded, removed, stored};

    fn doubts() -> Doubts {
        Doubts::new(SilenceSettings::default())
    }

    fn store(block: u64) -> KvEvent {
        KvEvent::BlockStored(stored(None, [block], &[1, 2]))
    }

    const NOW: Duration = Duration::from_secs(7);

    #[test]
    fn more_copies_than_blocks_are_hits_that_were_announced() {
        let mut doubts = doubts();
        doubts.set_gpu_blocks(3);
        doubts.applied(&[store(1), store(2), store(2)]);
        doubts.applied(&[removed(Medium::Gpu, [1]), store(3), KvEvent::BlockStored(offloaded(Medium::Cpu, [1, 2, 3]))]);
        assert_eq!(doubts.judge(NOW, WorkerState::Exact), WorkerState::Exact, "as many copies as blocks");

        doubts.applied(&[store(3)]);
        assert_eq!(doubts.judge(NOW, WorkerState::Exact), WorkerState::Approximate);
        doubts.applied(&[KvEvent::AllBlocksCleared]);
        assert!(doubts.announces_hits(), "it will do so again");
    }

    #[test]
    fn the_size_of_the_pool_may_come_late() {
        let mut doubts = doubts();
        doubts.applied(&[store(1), store(1), store(1), store(1)]);
        assert!(!doubts.announces_hits(), "nobody knows how many blocks there are");
        doubts.set_gpu_blocks(3);
        assert!(doubts.announces_hits());
    }

    #[test]
    fn copies_are_counted_anew_when_all_is_forgotten() {
        let mut doubts = doubts();
        doubts.set_gpu_blocks(1);
        for _ in 0..3 {
            doubts.applied(&[store(1)]);
            doubts.cleared();
        }
        doubts.applied(&[store(1), KvEvent::AllBlocksCleared, store(1)]);
        doubts.applied(&[removed(Medium::Gpu, [1, 2, 3]), store(1)]);
        assert!(!doubts.announces_hits());
    }

    #[test]
    fn a_worker_of_which_it_is_said_is_never_exact() {
        let mut doubts = doubts();
        doubts.set_announces_hits();
        for state in [WorkerState::Exact, WorkerState::Recovering, WorkerState::Approximate] {
            assert_eq!(doubts.judge(NOW, state), WorkerState::Approximate);
        }
    }

    #[test]
    fn a_silent_engine_is_approximate_until_it_speaks() {
        let mut doubts = doubts();
        doubts.stored(Duration::ZERO, 1000);
        assert_eq!(doubts.judge(NOW, WorkerState::Exact), WorkerState::Approximate);
        doubts.applied(&[]);
        assert_eq!(doubts.judge(NOW, WorkerState::Exact), WorkerState::Exact);
    }
}
