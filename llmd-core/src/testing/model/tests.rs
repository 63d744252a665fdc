use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::ModelIndex;
use crate::event::KvEvent;
use crate::hash::HashKey;
use crate::index::{IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState};
use crate::testing::{Step, full_width_engines, full_width_prompts};
use crate::{ExternalBlockHash, GroupIdx, Locality, Medium, WorkerId};

fn model() -> ModelIndex {
    ModelIndex::new(IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32])))
}

fn step(model: &mut ModelIndex, step: &Step) {
    match step {
        Step::Apply(worker, events) => {
            model.apply(*worker, 0.0, events);
        }
        Step::Clear(worker) => model.clear(*worker),
        Step::Remove(worker) => model.remove_worker(*worker),
        Step::SetState(worker, state) => model.set_state(*worker, *state),
    }
}

proptest! {
    /// What a worker holds is what it said, whatever its groups are, and whether or not it has a place.
    #[test]
    fn copies_are_counted_in_every_group_and_medium(steps in full_width_engines()) {
        let mut model = model();
        let mut counted = BTreeMap::<WorkerId, Counted>::new();
        for now in &steps {
            step(&mut model, now);
            match now {
                Step::Clear(worker) | Step::Remove(worker) => drop(counted.remove(worker)),
                Step::Apply(worker, events) => count(counted.entry(*worker).or_default(), events),
                Step::SetState(..) => {}
            }
        }
        for worker in (0..3).map(WorkerId) {
            let held = model.residents(worker).into_iter();
            let held: Counted = held.map(|held| ((held.block, held.group, held.medium), held.copies)).collect();
            prop_assert_eq!(held, counted.remove(&worker).unwrap_or_default());
        }
    }
}

type Counted = BTreeMap<(ExternalBlockHash, GroupIdx, Medium), u32>;

fn count(counted: &mut Counted, events: &[KvEvent]) {
    for event in events {
        match event {
            KvEvent::AllBlocksCleared => counted.retain(|(.., medium), _| *medium != Medium::Gpu),
            KvEvent::BlockRemoved(removed) if removed.locality == Locality::Local => {
                for name in &removed.block_hashes {
                    if let Some(copies) = counted.get_mut(&(name.clone(), removed.group_idx, removed.medium)) {
                        *copies -= 1;
                    }
                }
                counted.retain(|_, copies| *copies > 0);
            }
            KvEvent::BlockStored(stored) if stored.locality == Locality::Local => {
                for name in &stored.block_hashes {
                    *counted.entry((name.clone(), stored.group_idx, stored.medium)).or_default() += 1;
                }
            }
            KvEvent::BlockRemoved(_) | KvEvent::BlockStored(_) => {}
        }
    }
}

/// The engines at full width do enough for every rule to matter.
#[test]
fn the_engines_come_to_every_rule() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<&str, usize>::new();
    for _ in 0..100 {
        let steps = full_width_engines().new_tree(&mut runner).expect("engines can be made").current();
        let mut model = model();
        steps.iter().for_each(|now| step(&mut model, now));
        for chain in full_width_prompts(model.hasher()) {
            let explained = model.explain(&chain);
            for worker in &explained.workers {
                let overlap = worker.overlap;
                let mut note = |what, is_seen: bool| *seen.entry(what).or_default() += usize::from(is_seen);
                note("exact, and holds something", worker.state == WorkerState::Exact && overlap.leading > 0);
                note("a hit within a wide block", overlap.leading % 2 == 1);
                note("a group that ends a hit of some blocks", worker.limited_by.is_some() && overlap.leading > 0);
                note(
                    "a lookup that the prompt ends",
                    worker.limited_by.is_none() && worker.next.is_none() && worker.held_behind > 0,
                );
                note(
                    "beyond what it holds itself",
                    overlap.leading > overlap.leading_by_medium.into_iter().max().unwrap_or(0),
                );
                note("shared", overlap.shared > 0);
                note("unplaced", worker.unplaced > 0);
                note("approximate", worker.state == WorkerState::Approximate);
            }
        }
    }
    assert!(seen.values().all(|&times| times > 20), "{seen:?}");
    assert_eq!(seen.len(), 8);
}
