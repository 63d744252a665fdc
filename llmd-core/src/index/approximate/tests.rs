use std::collections::HashMap;

use proptest::prelude::*;

use super::{ApproximateIndex, ApproximateSettings};
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

#[test]
fn the_index_answers_as_every_index_does() {
    testing::reader(
        |block_size| ApproximateIndex::new(ApproximateSettings::default().with_block_size(block_size)),
        |index, worker, tokens, namespace| index.record(worker, &index.hasher().chain(tokens, namespace)),
    );
}

#[test]
fn a_prompt_is_forgotten_from_its_end() {
    let index = index(5);
    index.record(W, &chain(&index, 1, 3));
    index.record(W, &chain(&index, 2, 3));

    assert_eq!(index.query(&chain(&index, 1, 3)).leading(W), 2);
    assert_eq!(index.query(&chain(&index, 2, 3)).leading(W), 3);
}

#[test]
fn a_prompt_that_is_longer_than_the_cache_leaves_its_beginning() {
    let index = index(5);
    index.record(W, &chain(&index, 2, 1));
    index.record(W, &chain(&index, 1, 9));

    assert_eq!(index.query(&chain(&index, 1, 9)).leading(W), 5);
    assert_eq!(index.stats().held.residents, 5);
}

#[test]
fn a_smaller_cache_forgets_at_once() {
    let index = index(5);
    index.record(W, &chain(&index, 1, 5));
    index.set_capacity(W, 2);
    assert_eq!(index.query(&chain(&index, 1, 5)).leading(W), 2);

    index.set_capacity(WorkerId(1), 1);
    index.record(WorkerId(1), &chain(&index, 1, 5));
    assert_eq!(index.query(&chain(&index, 1, 5)).leading(WorkerId(1)), 1, "the capacity may come first");

    index.set_capacity(W, 0);
    index.record(W, &chain(&index, 1, 5));
    assert_eq!(index.query(&chain(&index, 1, 5)).leading(W), 0, "an engine without a cache");
}

#[test]
fn a_removed_worker_leaves_nothing() {
    let index = index(5);
    index.record(W, &chain(&index, 1, 5));
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
    index.record(W, &long);
    index.set_capacity(W, 2);
    index.record(WorkerId(1), &long);

    let explained = index.explain(&long);

    let mine = explained.get(W).unwrap();
    assert_eq!((mine.overlap.leading, mine.overlap.on(Medium::Gpu), mine.held_behind), (2, 2, 0));
    assert_eq!((mine.state, mine.next), (WorkerState::Approximate, Some(BlockFate::NeverStored)));
    assert_eq!(explained.get(WorkerId(1)).unwrap().next, None);
}

/// The same as a list for each worker, newest block first.
#[derive(Default)]
struct Model(HashMap<WorkerId, (usize, Vec<BlockHash>)>);

impl Model {
    fn record(&mut self, worker: WorkerId, chain: &Chain, capacity: usize) {
        let (capacity, used) = self.0.entry(worker).or_insert_with(|| (capacity, Vec::new()));
        for &block in chain.blocks().iter().take(*capacity).rev() {
            used.retain(|&other| other != block);
            used.insert(0, block);
        }
        used.truncate(*capacity);
    }

    fn set_capacity(&mut self, worker: WorkerId, capacity: usize) {
        let known = self.0.entry(worker).or_default();
        known.0 = capacity;
        known.1.truncate(capacity);
    }

    fn leading(&self, worker: WorkerId, chain: &Chain) -> usize {
        let held = |block: &&BlockHash| self.0.get(&worker).is_some_and(|(_, used)| used.contains(block));
        chain.blocks().iter().take_while(held).count()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Record { nth: usize },
    Resize { capacity: usize },
    Remove,
}

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let step = prop_oneof![
        20 => (0..32_usize).prop_map(|nth| Step::Record { nth }),
        1 => (0..12_usize).prop_map(|capacity| Step::Resize { capacity }),
        1 => Just(Step::Remove),
    ];
    proptest::collection::vec((0..3_u32, step), 0..100)
}

proptest! {
    /// The linked list is a list.
    #[test]
    fn the_index_is_the_model(steps in steps(), capacity in 0..8_usize) {
        let (index, mut model) = (index(capacity), Model::default());
        let chains = prompts(index.hasher());
        for (worker, step) in steps {
            let worker = WorkerId(worker);
            match step {
                Step::Record { nth } => {
                    index.record(worker, &chains[nth]);
                    model.record(worker, &chains[nth], capacity);
                }
                Step::Resize { capacity } => {
                    index.set_capacity(worker, capacity);
                    model.set_capacity(worker, capacity);
                }
                Step::Remove => {
                    index.remove_worker(worker);
                    model.0.remove(&worker);
                }
            }
            for chain in &chains {
                prop_assert_eq!(index.query(chain).leading(worker) as usize, model.leading(worker, chain));
            }
        }
        prop_assert_eq!(index.stats().held.residents, model.0.values().map(|(_, used)| used.len()).sum::<usize>());
    }
}
