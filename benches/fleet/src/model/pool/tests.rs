use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn name(n: u8) -> Digest {
    [n; 32]
}

fn stored(names: &[u8]) -> StoredBlocks {
    StoredBlocks { hashes: names.iter().map(|&n| name(n)).collect(), ..StoredBlocks::default() }
}

/// Takes a block per name, names it, and gives it up.
fn fill(pool: &mut BlockPool, names: &[u8]) -> Vec<BlockId> {
    let mut blocks = Vec::new();
    pool.take(names.len(), &mut blocks);
    pool.store(&blocks, stored(names));
    pool.release(&blocks);
    blocks
}

fn take(pool: &mut BlockPool, count: usize) -> Vec<BlockId> {
    let mut blocks = Vec::new();
    pool.take(count, &mut blocks);
    blocks
}

#[test]
fn the_null_block_is_never_handed_out() {
    let mut pool = BlockPool::new(4);
    assert_eq!((pool.capacity(), take(&mut pool, 3)), (3, vec![1, 2, 3]));
    assert_eq!(pool.free(), 0);
}

#[test]
fn the_tail_of_a_chain_is_evicted_before_its_head() {
    let mut pool = BlockPool::new(4);
    fill(&mut pool, &[1, 2, 3]);
    pool.take_events();
    take(&mut pool, 2);

    assert_eq!(pool.take_events(), [CacheEvent::Removed(name(3)), CacheEvent::Removed(name(2))]);
    assert_eq!(pool.longest_run(&[name(1), name(2), name(3)]).len(), 1);
}

#[test]
fn a_block_without_a_name_is_taken_before_any_that_can_be_found() {
    let mut pool = BlockPool::new(4);
    fill(&mut pool, &[1, 2]);
    let unnamed = take(&mut pool, 1);
    pool.release(&unnamed);
    pool.take_events();

    assert_eq!(take(&mut pool, 1), unnamed);
    assert_eq!(pool.pending_events(), 0);
}

#[test]
fn what_is_found_and_used_again_is_evicted_last() {
    let mut pool = BlockPool::new(5);
    fill(&mut pool, &[1, 2]);
    fill(&mut pool, &[3, 4]);
    let found = pool.longest_run(&[name(1), name(2)]);
    assert_eq!(pool.unused_among(&found), 2);
    pool.touch(&found);
    pool.release(&found);
    pool.take_events();
    take(&mut pool, 4);

    assert_eq!(pool.take_events(), [4, 3, 2, 1].map(|n| CacheEvent::Removed(name(n))));
}

#[test]
fn equal_content_has_a_copy_per_block_and_each_is_announced_when_it_goes() {
    let mut pool = BlockPool::new(3);
    fill(&mut pool, &[1]);
    let mut second = take(&mut pool, 1);
    pool.store(&second, stored(&[1]));
    assert_eq!(pool.cached().map(|(_, copies)| copies).collect::<Vec<_>>(), [2]);

    pool.release(&second);
    pool.take_events();
    second.clear();
    take(&mut pool, 2);
    assert_eq!(pool.take_events(), [CacheEvent::Removed(name(1)), CacheEvent::Removed(name(1))]);
}

#[test]
fn a_pool_in_use_is_not_cleared() {
    let mut pool = BlockPool::new(3);
    fill(&mut pool, &[1]);
    let used = take(&mut pool, 1);
    assert!(!pool.clear());

    pool.release(&used);
    assert!(pool.clear());
    assert_eq!(pool.cached().count(), 0);
    assert_eq!(pool.take_events().last(), Some(&CacheEvent::Cleared));
}

/// The pool as lists: slow, and obviously right.
#[derive(Default)]
struct ModelPool {
    free: Vec<BlockId>,
    users: BTreeMap<BlockId, u32>,
    names: BTreeMap<BlockId, Digest>,
    /// Named blocks in the order in which they were named.
    order: Vec<BlockId>,
}

impl ModelPool {
    fn take(&mut self, count: usize) -> Vec<BlockId> {
        let taken: Vec<_> = self.free.drain(..count).collect();
        for id in &taken {
            assert_eq!(self.users.insert(*id, 1).unwrap_or(0), 0, "a block in use was handed out");
            self.names.remove(id);
            self.order.retain(|named| named != id);
        }
        taken
    }

    fn store(&mut self, blocks: &[BlockId], names: &[u8]) {
        for (&id, &n) in blocks.iter().zip(names) {
            self.names.insert(id, name(n));
            self.order.push(id);
        }
    }

    fn run(&self, names: &[u8]) -> Vec<BlockId> {
        let holder = |n: &u8| self.order.iter().find(|id| self.names[id] == name(*n)).copied();
        names.iter().map_while(holder).collect()
    }

    fn touch(&mut self, found: &[BlockId]) {
        for id in found {
            self.free.retain(|free| free != id);
            *self.users.entry(*id).or_default() += 1;
        }
    }

    fn release(&mut self, blocks: &[BlockId]) {
        for id in blocks.iter().rev() {
            let users = self.users.get_mut(id).expect("a holder uses its blocks");
            *users -= 1;
            if *users == 0 {
                let place = if self.names.contains_key(id) { self.free.len() } else { 0 };
                self.free.insert(place, *id);
            }
        }
    }

    fn cached(&self) -> BTreeMap<Digest, usize> {
        let mut counts = BTreeMap::new();
        self.names.values().for_each(|name| *counts.entry(*name).or_default() += 1);
        counts
    }
}

/// What a subscriber that counts believes.
pub(in super::super) fn follow(counts: &mut BTreeMap<Digest, usize>, events: Vec<CacheEvent>) {
    for event in events {
        match event {
            CacheEvent::Cleared => counts.clear(),
            CacheEvent::Removed(hash) => {
                let count = counts.get_mut(&hash).expect("a store comes before its removal");
                *count -= 1;
                counts.retain(|_, count| *count > 0);
            }
            CacheEvent::Stored(stored) => stored.hashes.iter().for_each(|hash| *counts.entry(*hash).or_default() += 1),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A request: finds what it can of a chain, takes blocks for the rest, names some of them.
    Begin {
        first: u8,
        len: u8,
        unnamed: u8,
    },
    End {
        nth: usize,
    },
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4_u8, 0..6_u8, 0..3_u8).prop_map(|(first, len, unnamed)| Step::Begin { first: first * 8, len, unnamed }),
        8 => (0..8_usize).prop_map(|nth| Step::End { nth }),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    /// The pool and the obviously right one agree on every block, and its events tell exactly what it holds.
    #[test]
    fn the_pool_is_the_model(steps in steps()) {
        const BLOCKS: u32 = 16;
        let mut pool = BlockPool::new(BLOCKS);
        let mut model = ModelPool { free: (1..BLOCKS).collect(), ..ModelPool::default() };
        let (mut told, mut holders) = (BTreeMap::new(), Vec::<Vec<BlockId>>::new());
        for step in steps {
            match step {
                Step::Begin { first, len, unnamed } => {
                    let names: Vec<u8> = (first..first + len).collect();
                    let chain: Vec<_> = names.iter().map(|&n| name(n)).collect();
                    // As for a request, the last block is never taken from the cache.
                    let usable = chain.len().saturating_sub(1);
                    let mut blocks = pool.longest_run(&chain[..usable]);
                    prop_assert_eq!(&blocks, &model.run(&names[..usable]));
                    let found = blocks.len();
                    let missing = chain.len() - found + usize::from(unnamed);
                    if missing + pool.unused_among(&blocks) > pool.free() {
                        continue;
                    }
                    pool.touch(&blocks);
                    model.touch(&blocks);
                    pool.take(missing, &mut blocks);
                    prop_assert_eq!(&blocks[found..], &model.take(missing));
                    pool.store(&blocks[found..chain.len()], stored(&names[found..]));
                    model.store(&blocks[found..chain.len()], &names[found..]);
                    holders.push(blocks);
                }
                Step::End { nth } => {
                    if nth < holders.len() {
                        let blocks = holders.swap_remove(nth);
                        pool.release(&blocks);
                        model.release(&blocks);
                    }
                }
                Step::Clear => {
                    let idle = holders.iter().all(Vec::is_empty);
                    prop_assert_eq!(pool.clear(), idle);
                    if idle {
                        model.names.clear();
                        model.order.clear();
                    }
                }
            }
            follow(&mut told, pool.take_events());
            let cached: BTreeMap<_, _> = pool.cached().map(|(hash, copies)| (*hash, copies)).collect();
            prop_assert_eq!(&told, &cached);
            prop_assert_eq!(&cached, &model.cached());
            prop_assert_eq!(pool.free(), model.free.len());
            prop_assert_eq!(pool.used() + pool.free(), pool.capacity());
        }
    }
}
