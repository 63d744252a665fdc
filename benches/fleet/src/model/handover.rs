//! What one engine computed and another decodes: blocks that are kept for it, and blocks that come from it.

use std::time::Duration;

use super::engine::Engine;
use super::name::{BlockId, Digest, RequestId};
use super::request::{Active, NewRequest};

/// What a request leaves behind for another engine: its blocks, which nobody takes until they are
/// [let go](Engine::let_go).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Kept {
    /// Its blocks, first block first.
    pub blocks: Vec<BlockId>,
    /// How many of them are full of tokens of the prompt, and so have a name.
    pub full: usize,
}

/// Blocks that were taken for what comes from another engine. To be given back by [`Engine::arrived`].
#[derive(Debug)]
#[must_use = "blocks that are not given back are lost to the cache"]
pub struct Expected {
    request: Active,
    /// How many leading blocks were there already.
    here: usize,
    /// How many were taken behind them.
    taken: usize,
}

impl Expected {
    /// Which of the prompt's blocks is the first that is not here.
    pub const fn first(&self) -> usize {
        self.here
    }

    /// The blocks to bring the others into.
    pub fn blocks(&self) -> &[BlockId] {
        &self.request.blocks[self.here..]
    }

    /// The names of what comes.
    pub fn names(&self) -> &[Digest] {
        &self.request.chain[self.here..self.here + self.taken]
    }
}

impl Engine {
    /// From now on it is remembered which blocks were filled with what.
    pub fn record_filled(&mut self) {
        self.pool.record_filled();
    }

    /// Which blocks were filled since the last call, in order: of two for one block, the later holds.
    pub fn take_filled(&mut self) -> Vec<(BlockId, Digest)> {
        self.pool.take_filled()
    }

    /// What a request that ended has left behind. `None` unless it was to [hand over](NewRequest::hands_over).
    pub fn kept(&self, id: RequestId) -> Option<&Kept> {
        self.kept.get(&id)
    }

    /// Nobody needs any longer what a request has left behind. Says whether it was there.
    pub fn let_go(&mut self, id: RequestId) -> bool {
        let kept = self.kept.remove(&id);
        kept.iter().for_each(|kept| self.pool.release(&kept.blocks));
        kept.is_some()
    }

    /// Takes blocks for what another engine computed of a prompt, as far as that is not here and the engine would use it: at most
    /// `most` blocks from the prompt's beginning. `None` when there is nothing to bring, or when it would take more than half of
    /// the blocks that nobody uses.
    pub fn expect(&mut self, request: NewRequest, most: usize) -> Option<Expected> {
        let block_size = self.settings.block_size;
        let usable = (request.prompt.len().saturating_sub(1) / block_size).min(most);
        let mut request = Active::new(Duration::ZERO, RequestId(u64::MAX), request);
        request.extend_chain(&self.scheme, block_size);
        let found = self.pool.longest_run(&request.chain[..usable]);
        let (here, taken) = (found.len(), usable - found.len());
        if taken == 0 || taken + self.pool.unused_among(&found) > self.pool.free() / 2 {
            return None;
        }
        self.pool.touch(&found);
        request.blocks = found;
        self.pool.take(taken, &mut request.blocks);
        Some(Expected { request, here, taken })
    }

    /// The first `good` of the blocks that were expected hold what they should: they can be found from now on. The others hold
    /// nothing.
    pub fn arrived(&mut self, expected: Expected, good: usize) {
        let Expected { mut request, here, taken } = expected;
        let good = good.min(taken);
        if good > 0 {
            request.stored = here;
            let announcement = request.announcement(here + good, self.settings.block_size);
            self.pool.store_brought(&request.blocks[here..here + good], announcement);
        }
        self.pool.release(&request.blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Constants;
    use crate::model::{CacheEvent, EngineSettings, StepReport};

    const BLOCKS: u32 = 64;

    fn engine() -> Engine {
        let mut settings = EngineSettings::new(Constants::QWEN3_32B_TP2_H100.scaled(1));
        settings.num_blocks = BLOCKS;
        settings.max_model_len = settings.kv_cache_tokens();
        let mut engine = Engine::new(settings, |_, position| position as u32).unwrap();
        engine.record_filled();
        engine
    }

    fn prompt(tokens: u32) -> NewRequest {
        NewRequest::new((0..tokens).collect::<Vec<_>>(), 1)
    }

    /// Runs one request to its end, and says how much of it was cached.
    fn run(engine: &mut Engine, request: NewRequest) -> (RequestId, usize) {
        let id = engine.submit(Duration::ZERO, request).unwrap();
        let (mut now, mut report, mut cached) = (engine.next_arrival().unwrap(), StepReport::default(), 0);
        while let Some(takes) = engine.begin_step(now) {
            now += takes;
            engine.end_step(now, &mut report);
            cached = report.outputs.last().map_or(cached, |output| output.cached_tokens);
        }
        (id, cached)
    }

    #[test]
    fn what_hands_over_keeps_its_blocks_until_they_are_let_go() {
        let mut engine = engine();
        let (id, _) = run(&mut engine, NewRequest { hands_over: true, ..prompt(40) });
        let kept = engine.kept(id).unwrap().clone();
        assert_eq!((kept.blocks.len(), kept.full, engine.pool().used()), (3, 2, 3));
        assert!(!engine.reset_prefix_cache(), "somebody uses them");
        let filled = engine.take_filled();
        assert_eq!(filled.iter().map(|(block, _)| *block).collect::<Vec<_>>(), kept.blocks[..2]);

        assert!(engine.let_go(id) && !engine.let_go(id));
        assert_eq!(engine.pool().used(), 0);
        let (id, cached) = run(&mut engine, prompt(40));
        assert_eq!((cached, engine.kept(id)), (32, None), "they can be found all the same");
    }

    #[test]
    fn what_arrived_is_found_and_announced_and_what_did_not_is_computed() {
        for (good, cached) in [(4, 64), (2, 32), (0, 0)] {
            let mut engine = engine();
            let expected = engine.expect(prompt(70), 9).unwrap();
            assert_eq!((expected.first(), expected.blocks().len(), expected.names().len()), (0, 4, 4));
            assert_eq!(engine.pool().used(), 4);
            engine.arrived(expected, good);
            assert_eq!(engine.pool().used(), 0);
            let stored: usize = engine.take_events().iter().map(stored).sum();
            assert_eq!(stored, good);
            assert_eq!(run(&mut engine, prompt(70)).1, cached);
            assert_eq!(engine.take_filled().len(), 4 - good, "what was brought is not filled again");
        }
    }

    #[test]
    fn only_what_is_not_here_is_brought_and_not_more_than_there_is_room_for() {
        let mut engine = engine();
        run(&mut engine, prompt(32));
        let expected = engine.expect(prompt(80), 9).unwrap();
        assert_eq!((expected.first(), expected.blocks().len()), (2, 2), "the last token is always computed");
        engine.arrived(expected, 2);
        assert!(engine.expect(prompt(80), 9).is_none(), "it is all here");
        let other = NewRequest::new((1000..1000 + 16 * 40).collect::<Vec<_>>(), 1);
        assert!(engine.expect(other.clone(), 40).is_none(), "more than half");
        let some = engine.expect(other, 20).unwrap();
        assert_eq!(some.blocks().len(), 20);
        engine.arrived(some, 0);
    }

    fn stored(event: &CacheEvent) -> usize {
        match event {
            CacheEvent::Stored(stored) => stored.hashes.len(),
            _ => 0,
        }
    }
}
