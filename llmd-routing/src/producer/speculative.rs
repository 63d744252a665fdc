//! What endpoints are about to hold: prompts that were sent there a moment ago.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::hash::Chain;
use llmd_core::index::{Expected, ExpectedSettings, Overlap};

use crate::plugin::{Hooks, Picked, Stage};

/// Prompts that were sent somewhere and whose events have not come yet. Each is expected for a fixed time.
#[derive(Clone, Debug)]
pub(super) struct Speculative {
    ttl: Duration,
    expected: Arc<Expected>,
}

impl Speculative {
    /// Nothing is expected; what will be, is expected for `ttl`.
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, expected: Arc::new(Expected::new(ExpectedSettings::default())) }
    }

    /// How many leading blocks of `chain` a worker that holds `held` of them holds or is expected to hold.
    pub(super) fn leading(&self, worker: WorkerId, chain: &Chain, held: u32, now: Duration) -> u32 {
        self.expected.leading(worker, chain, held, now)
    }

    /// Expects a prompt where it goes, which is held there as far as `overlap` says.
    pub(super) fn expect(&self, chain: Arc<Chain>, overlap: Overlap) -> Box<dyn Hooks> {
        Box::new(Expect { speculative: self.clone(), chain, overlap })
    }

    /// How many prompts were dropped before their time.
    pub(super) fn dropped(&self) -> u64 {
        self.expected.dropped()
    }
}

/// Expects the prompt where it goes: where it is prefilled, and where it is decoded, which gets it from there. An encoder
/// holds none of it.
#[derive(Debug)]
struct Expect {
    speculative: Speculative,
    chain: Arc<Chain>,
    overlap: Overlap,
}

impl Hooks for Expect {
    fn picked(&mut self, picked: &Picked<'_>) {
        if picked.stage == Stage::Encode {
            return;
        }
        let worker = picked.endpoint.worker();
        let Speculative { expected, ttl } = &self.speculative;
        expected.expect(worker, &self.chain, self.overlap.leading(worker), picked.now, *ttl);
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::hash::{BlockHasher, HashKey, Namespace};
    use llmd_core::index::WorkerOverlap;

    use super::*;
    use crate::testing::pool;

    fn chain(tokens: impl IntoIterator<Item = u32>) -> Arc<Chain> {
        let hasher = BlockHasher::new(HashKey::from_bytes([7; 32]), 1);
        Arc::new(hasher.chain(&tokens.into_iter().collect::<Vec<_>>(), &Namespace::default()))
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_prompt_is_expected_where_it_was_sent_for_a_while() {
        let (speculative, pool) = (Speculative::new(at(2000)), pool(4));
        speculative.expect(chain([1, 2, 3]), Overlap::default()).picked(&Picked::new(&pool[3], &pool, at(0)));

        let found =
            |worker, tokens: &[u32], now| speculative.leading(worker, &chain(tokens.iter().copied()), 0, at(now));
        let there = pool[3].worker();
        assert_eq!(found(there, &[1, 2, 9, 9], 1999), 2);
        assert_eq!(found(there, &[1, 2, 3, 4], 1999), 3);
        assert_eq!(found(there, &[9, 2, 3], 1999), 0);
        assert_eq!(found(there, &[1, 2, 3], 2000), 0);
        assert_eq!(found(pool[2].worker(), &[1, 2, 3], 1999), 0);
    }

    #[test]
    fn only_what_is_not_held_yet_is_expected() {
        let (speculative, pool) = (Speculative::new(at(2000)), pool(1));
        let mut overlap = Overlap::default();
        let mut held = WorkerOverlap::none(pool[0].worker());
        held.leading = 2;
        overlap.fill([held]);
        speculative.expect(chain([1, 2, 3]), overlap).picked(&Picked::new(&pool[0], &pool, at(0)));

        let leading = |held| speculative.leading(pool[0].worker(), &chain([1, 2, 3, 4]), held, at(1));
        assert_eq!([0, 1, 2].map(leading), [0, 1, 3]);
    }

    #[test]
    fn a_prompt_is_expected_at_each_stage_that_holds_it() {
        let (speculative, pool) = (Speculative::new(at(2000)), pool(3));
        let mut overlap = Overlap::default();
        let mut held = WorkerOverlap::none(pool[1].worker());
        held.leading = 2;
        overlap.fill([held]);
        let mut hooks = speculative.expect(chain([1, 2, 3]), overlap);
        for (endpoint, stage) in pool.iter().zip(Stage::ALL) {
            hooks.picked(&Picked::new(endpoint, &pool, at(0)).of(stage));
        }
        let leading = |place: usize, held| speculative.leading(pool[place].worker(), &chain([1, 2, 3, 4]), held, at(1));
        assert_eq!((leading(0, 0), leading(1, 2), leading(2, 0)), (0, 3, 3));
    }
}
