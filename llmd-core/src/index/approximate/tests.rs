use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{ApproximateIndex, ApproximateSettings, Counting};
use crate::hash::{Chain, HashKey, Namespace};
use crate::index::{BlockFate, PrefixIndex, WorkerState};
use crate::testing::{self, prompts};
use crate::{BlockHash, Medium, WorkerId};

const W: WorkerId = WorkerId(0);

fn index(capacity: usize) -> ApproximateIndex {
    let settings = ApproximateSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]));
    ApproximateIndex::new(settings.with_capacity(capacity))
}

fn chain(index: &ApproximateIndex, content: u32, blocks: usize) -> Chain {
    index.hasher().chain(&vec![content; 2 * blocks], &Namespace::default())
}

const fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn the_index_answers_as_every_index_does() {
    for counting in [Counting::AsLlmd, Counting::Leading] {
        let settings = ApproximateSettings::default().with_counting(counting);
        testing::reader(
            |block_size| ApproximateIndex::new(settings.with_block_size(block_size)),
            |index, worker, tokens, namespace| index.record(worker, &index.hasher().chain(tokens, namespace), at(0)),
        );
    }
}

#[test]
fn a_prompt_is_forgotten_from_its_end() {
    let index = index(5);
    index.record(W, &chain(&index, 1, 3), at(0));
    index.record(W, &chain(&index, 2, 3), at(0));

    assert_eq!(index.query(&chain(&index, 1, 3)).leading(W), 2);
    assert_eq!(index.query(&chain(&index, 2, 3)).leading(W), 3);
}

#[test]
fn a_prompt_that_is_longer_than_the_cache_leaves_its_beginning() {
    let index = index(5);
    index.record(W, &chain(&index, 2, 1), at(0));
    index.record(W, &chain(&index, 1, 9), at(0));

    assert_eq!(index.query(&chain(&index, 1, 9)).leading(W), 5);
    assert_eq!(index.stats().held.residents, 5);
}

#[test]
fn a_smaller_cache_forgets_at_once() {
    let index = index(5);
    index.record(W, &chain(&index, 1, 5), at(0));
    index.set_capacity(W, 2);
    assert_eq!(index.query(&chain(&index, 1, 5)).leading(W), 2);

    index.set_capacity(WorkerId(1), 1);
    index.record(WorkerId(1), &chain(&index, 1, 5), at(0));
    assert_eq!(index.query(&chain(&index, 1, 5)).leading(WorkerId(1)), 1, "the capacity may come first");

    index.set_capacity(W, 0);
    index.record(W, &chain(&index, 1, 5), at(0));
    assert_eq!(index.query(&chain(&index, 1, 5)).leading(W), 0, "an engine without a cache");
}

#[test]
fn a_removed_worker_leaves_nothing() {
    let index = index(5);
    index.record(W, &chain(&index, 1, 5), at(0));
    index.remove_worker(W);
    index.remove_worker(WorkerId(9));

    assert!(index.query(&chain(&index, 1, 5)).is_empty());
    assert!(index.explain(&chain(&index, 1, 5)).workers.is_empty());
    assert_eq!(index.stats(), crate::index::IndexStats::default());
}

#[test]
fn what_is_behind_a_missing_block_does_not_count() {
    let index = index(4);
    let long = chain(&index, 1, 4);
    index.record(W, &long, at(0));
    index.set_capacity(W, 2);
    index.record(WorkerId(1), &long, at(0));

    let explained = index.explain(&long);

    let mine = explained.get(W).unwrap();
    assert_eq!((mine.overlap.leading, mine.overlap.on(Medium::Gpu), mine.held_behind), (2, 2, 0));
    assert_eq!((mine.state, mine.next), (WorkerState::Approximate, Some(BlockFate::NeverStored)));
    assert_eq!(explained.get(WorkerId(1)).unwrap().next, None);
}

/// Worker 0 was sent a prompt of four blocks and then another, for which it has no room; worker 1 was sent the first two.
fn with_too_much(counting: Counting) -> (ApproximateIndex, Chain) {
    let settings = ApproximateSettings::default().with_block_size(1).with_counting(counting);
    let index = ApproximateIndex::new(settings.with_capacity(4));
    let chain = |tokens: &[u32]| index.hasher().chain(tokens, &Namespace::default());
    index.record(W, &chain(&[0, 1, 2, 3]), at(0));
    index.record(W, &chain(&[9]), at(0));
    index.record(WorkerId(1), &chain(&[0, 1]), at(0));
    let longer = chain(&[0, 1, 2, 3, 4]);
    (index, longer)
}

#[test]
fn as_llmd_counts_every_block_before_the_first_that_nobody_holds() {
    let (index, chain) = with_too_much(Counting::AsLlmd);
    let counts = index.query(&chain);
    assert_eq!((counts.leading(W), counts.leading(WorkerId(1))), (3, 2));
    let explained = index.explain(&chain);
    let mine = explained.get(W).unwrap();
    assert_eq!((mine.overlap.leading, mine.ends, mine.held_behind), (3, 0, 3));
    assert!(explained.to_string().contains("holds 3 leading; block 0 was never stored"), "{explained}");
    index.remove_worker(WorkerId(1));
    assert!(index.query(&chain).is_empty(), "nobody holds the first block");
}

#[test]
fn leading_counts_what_an_engine_can_use() {
    let (index, chain) = with_too_much(Counting::Leading);
    let counts = index.query(&chain);
    assert_eq!((counts.leading(W), counts.leading(WorkerId(1))), (3, 2));
    let explained = index.explain(&chain);
    let mine = explained.get(W).unwrap();
    assert_eq!((mine.overlap.leading, mine.ends, mine.held_behind), (3, 3, 0));
    assert!(explained.to_string().contains("holds 3 leading; block 3 was never stored"), "{explained}");
}

#[test]
fn what_nobody_used_for_too_long_is_forgotten() {
    let settings = ApproximateSettings::default().with_block_size(2).with_ttl(Some(at(10)));
    let index = ApproximateIndex::new(settings);
    let (one, two) = (chain(&index, 1, 3), chain(&index, 2, 3));
    index.record(W, &one, at(0));
    index.record(WorkerId(1), &one, at(0));
    index.record(W, &two, at(5));

    index.expire(at(9));
    assert_eq!(index.query(&one).leading(W), 3);
    index.record(WorkerId(1), &one, at(9));
    index.record(W, &two, at(11));
    assert_eq!((index.query(&one).leading(W), index.query(&two).leading(W)), (0, 3), "recording looks now and then");
    assert_eq!(index.query(&one).leading(WorkerId(1)), 3, "it was used again");
    index.expire(at(19));
    assert_eq!((index.query(&one).leading(WorkerId(1)), index.stats().dropped), (0, 0));
}

#[test]
fn when_there_are_too_many_workers_the_idle_one_is_forgotten_and_counted() {
    let settings = ApproximateSettings::default().with_block_size(2).with_max_workers(2);
    let index = ApproximateIndex::new(settings);
    let chain = chain(&index, 1, 3);
    for worker in [0, 1, 0, 2].map(WorkerId) {
        index.record(worker, &chain, at(0));
    }
    let held: Vec<_> = index.query(&chain).iter().map(|overlap| overlap.worker.0).collect();
    assert_eq!(held, [0, 2]);
    assert_eq!((index.stats().workers, index.stats().dropped), (2, 3));

    let nobody = ApproximateIndex::new(settings.with_max_workers(0));
    nobody.record(W, &chain, at(0));
    nobody.set_capacity(W, 7);
    assert_eq!((nobody.stats().workers, nobody.stats().dropped), (0, 3));
}

#[test]
fn bytes_grow_with_what_is_kept() {
    let index = index(100);
    assert_eq!(index.stats().bytes, 0);
    index.record(W, &chain(&index, 1, 100), at(0));
    assert!((2400..40_000).contains(&index.stats().bytes), "{}", index.stats().bytes);
}

/// The same as a list for each worker, newest block first, with the turn in which it was last heard of.
struct Model {
    limits: ApproximateSettings,
    workers: BTreeMap<WorkerId, Kept>,
    turns: u64,
    dropped: u64,
}

#[derive(Default)]
struct Kept {
    turn: u64,
    capacity: usize,
    blocks: Vec<(BlockHash, Duration)>,
}

impl Model {
    fn worker(&mut self, worker: WorkerId, capacity: usize) -> &mut Kept {
        self.turns += 1;
        if !self.workers.contains_key(&worker) && self.workers.len() == self.limits.max_workers {
            let (&idle, kept) = self.workers.iter().min_by_key(|(_, kept)| kept.turn).unwrap();
            self.dropped += kept.blocks.len() as u64;
            self.workers.remove(&idle);
        }
        let kept = self.workers.entry(worker).or_insert_with(|| Kept { capacity, ..Kept::default() });
        kept.turn = self.turns;
        kept
    }

    fn record(&mut self, worker: WorkerId, chain: &Chain, now: Duration) {
        self.expire(now);
        let ApproximateSettings { capacity, counting, .. } = self.limits;
        let kept = self.worker(worker, capacity);
        let mut used: Vec<_> = chain.blocks().iter().copied().take(kept.capacity).collect();
        if counting == Counting::Leading {
            used.reverse();
        }
        for block in used {
            kept.blocks.retain(|&(other, _)| other != block);
            kept.blocks.insert(0, (block, now));
        }
        kept.blocks.truncate(kept.capacity);
    }

    fn set_capacity(&mut self, worker: WorkerId, capacity: usize) {
        let kept = self.worker(worker, capacity);
        kept.capacity = capacity;
        kept.blocks.truncate(capacity);
    }

    fn expire(&mut self, now: Duration) {
        let Some(ttl) = self.limits.ttl else { return };
        self.workers.values_mut().for_each(|kept| kept.blocks.retain(|&(_, used)| now < used + ttl));
    }

    fn holds(&self, worker: WorkerId, block: BlockHash) -> bool {
        self.workers.get(&worker).is_some_and(|kept| kept.blocks.iter().any(|&(other, _)| other == block))
    }

    fn count(&self, worker: WorkerId, chain: &Chain) -> usize {
        let blocks = chain.blocks().iter();
        match self.limits.counting {
            Counting::Leading => blocks.take_while(|&&block| self.holds(worker, block)).count(),
            Counting::AsLlmd => {
                let anybody = |block| self.workers.keys().any(|&worker| self.holds(worker, block));
                blocks.take_while(|&&block| anybody(block)).filter(|&&block| self.holds(worker, block)).count()
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Record { nth: usize },
    Resize { capacity: usize },
    Remove,
}

fn steps() -> impl Strategy<Value = Vec<(u32, u64, Step)>> {
    let step = prop_oneof![
        20 => (0..32_usize).prop_map(|nth| Step::Record { nth }),
        1 => (0..12_usize).prop_map(|capacity| Step::Resize { capacity }),
        1 => Just(Step::Remove),
    ];
    proptest::collection::vec((0..4_u32, 0..2_u64, step), 0..100)
}

fn limits() -> impl Strategy<Value = ApproximateSettings> {
    let counting = prop_oneof![Just(Counting::AsLlmd), Just(Counting::Leading)];
    (0..8_usize, 1..5_usize, proptest::option::of((1..9_u64).prop_map(at)), counting).prop_map(
        |(capacity, max_workers, ttl, counting)| {
            let settings = ApproximateSettings::default().with_block_size(2).with_capacity(capacity);
            settings.with_max_workers(max_workers).with_ttl(ttl).with_counting(counting)
        },
    )
}

proptest! {
    /// The linked list is a list.
    #[test]
    fn the_index_is_the_model(steps in steps(), limits in limits()) {
        let index = ApproximateIndex::new(limits);
        let mut model = Model { limits, workers: BTreeMap::new(), turns: 0, dropped: 0 };
        let (chains, mut now) = (prompts(index.hasher()), at(0));
        for (worker, later, step) in steps {
            let worker = WorkerId(worker);
            now += at(later);
            index.expire(now);
            model.expire(now);
            match step {
                Step::Record { nth } => {
                    index.record(worker, &chains[nth], now);
                    model.record(worker, &chains[nth], now);
                }
                Step::Resize { capacity } => {
                    index.set_capacity(worker, capacity);
                    model.set_capacity(worker, capacity);
                }
                Step::Remove => {
                    index.remove_worker(worker);
                    model.workers.remove(&worker);
                }
            }
            for chain in &chains {
                let overlap = index.query(chain);
                for worker in (0..4).map(WorkerId) {
                    prop_assert_eq!(overlap.leading(worker) as usize, model.count(worker, chain));
                }
            }
        }
        let stats = index.stats();
        prop_assert_eq!(stats.held.residents, model.workers.values().map(|kept| kept.blocks.len()).sum::<usize>());
        prop_assert_eq!((stats.workers, stats.dropped), (model.workers.len(), model.dropped));
    }
}
