//! What endpoints are about to hold: prompts that were sent there a moment ago.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::hash::Chain;
use parking_lot::Mutex;
use smallvec::SmallVec;

/// How many prompts are expected at once; beyond that, the oldest is dropped.
const MAX_PROMPTS: usize = 4096;

/// How many blocks they may have together (32 MiB of names); beyond that, the oldest prompt is dropped.
const MAX_BLOCKS: usize = 4 << 20;

/// Prompts that were sent somewhere and whose events have not come yet. Each is expected for a fixed time.
///
/// A block's name covers everything before it, so two chains agree up to one place and nowhere behind it: how much of one
/// is in another is found by bisection.
#[derive(Debug)]
pub(super) struct Speculative {
    ttl: Duration,
    expected: Mutex<Expected>,
}

#[derive(Debug, Default)]
struct Expected {
    /// By deadline, since all are expected for as long.
    prompts: VecDeque<Prompt>,
    blocks: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Prompt {
    deadline: Duration,
    worker: WorkerId,
    chain: Arc<Chain>,
}

impl Speculative {
    /// Nothing is expected; what will be, is expected for `ttl`.
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, expected: Mutex::default() }
    }

    /// A prompt goes to a worker.
    pub(super) fn expect(&self, worker: WorkerId, chain: &Arc<Chain>, now: Duration) {
        let expected = &mut *self.expected.lock();
        expected.expire(now);
        expected.blocks += chain.blocks().len();
        let deadline = now.saturating_add(self.ttl);
        expected.prompts.push_back(Prompt { deadline, worker, chain: Arc::clone(chain) });
        while expected.prompts.len() > MAX_PROMPTS || expected.blocks > MAX_BLOCKS {
            expected.pop();
            expected.dropped += 1;
        }
    }

    /// How many leading blocks of `chain` each worker is expected to hold; a worker may appear more than once.
    pub(super) fn query(&self, chain: &Chain, now: Duration) -> SmallVec<[(WorkerId, u32); 16]> {
        let expected = &mut *self.expected.lock();
        expected.expire(now);
        let first = chain.blocks().first();
        let near = expected.prompts.iter().filter(|prompt| first.is_some() && prompt.chain.blocks().first() == first);
        near.map(|prompt| (prompt.worker, common(&prompt.chain, chain))).collect()
    }

    /// How many prompts were dropped before their time.
    pub(super) fn dropped(&self) -> u64 {
        self.expected.lock().dropped
    }
}

impl Expected {
    fn expire(&mut self, now: Duration) {
        while self.prompts.front().is_some_and(|prompt| prompt.deadline <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(prompt) = self.prompts.pop_front() {
            self.blocks -= prompt.chain.blocks().len();
        }
    }
}

/// How many leading blocks two chains have in common.
fn common(a: &Chain, b: &Chain) -> u32 {
    let (a, b) = (a.blocks(), b.blocks());
    let (mut same, mut end) = (0, a.len().min(b.len()));
    while same < end {
        let middle = same.midpoint(end);
        if a[middle] == b[middle] { same = middle + 1 } else { end = middle }
    }
    same as u32
}

#[cfg(test)]
mod tests {
    use llmd_core::hash::{BlockHasher, HashKey, Namespace};

    use super::*;

    fn chain(tokens: impl IntoIterator<Item = u32>) -> Arc<Chain> {
        let hasher = BlockHasher::new(HashKey::from_bytes([7; 32]), 1);
        Arc::new(hasher.chain(&tokens.into_iter().collect::<Vec<_>>(), &Namespace::default()))
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_prompt_is_expected_where_it_was_sent_for_a_while() {
        let speculative = Speculative::new(at(2000));
        speculative.expect(WorkerId(3), &chain([1, 2, 3]), at(0));

        let found = |tokens: &[u32], now| speculative.query(&chain(tokens.iter().copied()), at(now)).to_vec();
        assert_eq!(found(&[1, 2, 9, 9], 1999), [(WorkerId(3), 2)]);
        assert_eq!(found(&[1, 2, 3, 4], 1999), [(WorkerId(3), 3)]);
        assert_eq!(found(&[9, 2, 3], 1999), []);
        assert_eq!(found(&[], 1999), []);
        assert_eq!(found(&[1, 2, 3], 2000), []);
    }

    #[test]
    fn beyond_the_limit_the_oldest_is_dropped_and_counted() {
        let speculative = Speculative::new(at(2000));
        for token in 0..=MAX_PROMPTS as u32 {
            speculative.expect(WorkerId(0), &chain([token]), at(0));
        }

        assert!(speculative.query(&chain([0]), at(1)).is_empty());
        assert_eq!(speculative.query(&chain([1]), at(1)).len(), 1);
        assert_eq!(speculative.dropped(), 1);
    }

    #[test]
    fn chains_agree_up_to_one_place() {
        for same in 0..9 {
            let other = (0..8).map(|place| if place < same { place } else { place + 100 });
            assert_eq!(common(&chain(0..8), &chain(other)), same.min(8));
        }
    }
}
