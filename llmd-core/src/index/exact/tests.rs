use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::super::{
    Applied, BlockFate, Held, IndexSettings, IndexStats, IndexWriter, Overlap, PrefixIndex, WorkerState,
};
use super::{ExactIndex, ExactReader, ExactWriter};
use crate::event::KvEvent;
use crate::hash::{BlockHasher, Chain, HashKey, Namespace};
use crate::testing::{
    self, ModelIndex, Step, engines, full_width_engines, full_width_prompts, offloaded, plainly, prompts, removed,
    stored,
};
use crate::{Locality, Medium, WorkerId};

const W: WorkerId = WorkerId(0);

fn settings() -> IndexSettings {
    IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]))
}

/// A prompt of `blocks` blocks, and what an engine says that has stored it under the names from 0.
fn prompt(reader: &ExactReader, blocks: u32) -> (Chain, KvEvent) {
    let tokens: Vec<_> = (0..blocks).flat_map(|block| [block, 1]).collect();
    let chain = reader.hasher().chain(&tokens, &Namespace::default());
    (chain, KvEvent::BlockStored(stored(None, 0..blocks.into(), &tokens)))
}

#[test]
fn the_index_does_what_every_index_does() {
    testing::index(|block_size| ExactIndex::new(IndexSettings::default().with_block_size(block_size)));
}

#[test]
fn the_index_does_what_every_index_of_full_width_does() {
    testing::index_at_full_width(|block_size| ExactIndex::new(IndexSettings::default().with_block_size(block_size)));
}

#[test]
fn the_model_does_too() {
    let make = |block_size| {
        let model = ModelIndex::new(IndexSettings::default().with_block_size(block_size));
        (model.clone(), model)
    };
    testing::index(make);
    testing::index_at_full_width(make);
}

fn step(writer: &mut impl IndexWriter, at: f64, step: &Step) -> Applied {
    match step {
        Step::Apply(worker, events) => return writer.apply(*worker, at, events),
        Step::Clear(worker) => writer.clear(*worker),
        Step::Remove(worker) => writer.remove_worker(*worker),
        Step::SetState(worker, state) => writer.set_state(*worker, *state),
    }
    Applied::default()
}

fn compare(
    (writer, reader): &(ExactWriter, ExactReader),
    model: &ModelIndex,
    chains: &[Chain],
) -> Result<(), TestCaseError> {
    for worker in (0..3).map(WorkerId) {
        let (mut held, mut truth) = (writer.residents(worker), model.residents(worker));
        held.sort_unstable();
        truth.sort_unstable();
        prop_assert_eq!(held, truth);
        prop_assert_eq!(reader.state(worker), model.state(worker));
    }
    for chain in chains {
        prop_assert_eq!(plainly(reader.explain(chain)), model.explain(chain));
        prop_assert_eq!(reader.query(chain), model.query(chain));
    }
    Ok(())
}

fn speaks_of_the_pool(step: &Step) -> bool {
    let is_pools = |event: &KvEvent| match event {
        KvEvent::BlockStored(stored) => stored.locality == Locality::Remote,
        _ => false,
    };
    matches!(step, Step::Apply(_, events) if events.iter().any(is_pools))
}

proptest! {
    /// Whatever engines do and in whatever order they say it: residents, states, overlaps, and the reasons given.
    #[test]
    fn the_index_is_the_model(steps in engines()) {
        let mut exact = ExactIndex::new(settings());
        let mut model = ModelIndex::new(settings());
        let chains = prompts(exact.1.hasher());
        for (number, now) in steps.iter().enumerate() {
            let applied = step(&mut exact.0, number as f64, now);
            prop_assert_eq!(applied, step(&mut model, number as f64, now));
            compare(&exact, &model, &chains[number % chains.len()..][..1])?;
        }
        compare(&exact, &model, &chains)?;

        let stats = exact.1.stats();
        prop_assert_eq!(stats, exact.0.stats());
        let residents: usize = (0..3).map(|worker| exact.0.residents(WorkerId(worker)).len()).sum();
        prop_assert_eq!((stats.held.residents, stats.dropped), (residents, 0));
    }

    /// The same for hybrid models, several block sizes, and storage that all share.
    #[test]
    fn the_index_is_the_model_at_full_width(steps in full_width_engines()) {
        let mut exact = ExactIndex::new(settings());
        let mut model = ModelIndex::new(settings());
        let chains = full_width_prompts(exact.1.hasher());
        for (number, now) in steps.iter().enumerate() {
            let applied = step(&mut exact.0, number as f64, now);
            let mut expected = step(&mut model, number as f64, now);
            if speaks_of_the_pool(now) {
                // How many blocks of an event wait for others of it is counted in the order in which they are placed.
                expected.stored = applied.stored;
            }
            prop_assert_eq!(applied, expected);
            compare(&exact, &model, &chains[number % chains.len()..][..1])?;
        }
        compare(&exact, &model, &chains)?;
    }

    /// How events are put together to batches changes nothing: those of a worker that follow each other are applied at once
    /// here and one by one there.
    #[test]
    fn a_batch_is_its_events_one_after_the_other(steps in full_width_engines()) {
        let (mut joined, mut alone) = (ExactIndex::new(settings()), ExactIndex::new(settings()));
        let chains = full_width_prompts(joined.1.hasher());
        // What is cleared is swept after a batch, and remembered then.
        let is_of = |step: &Step, worker: WorkerId| {
            matches!(step, Step::Apply(other, events) if *other == worker && !events.contains(&KvEvent::AllBlocksCleared))
        };
        let mut rest = &steps[..];
        while let Some(now) = rest.first() {
            let Step::Apply(worker, _) = now else {
                step(&mut joined.0, 0.0, now);
                step(&mut alone.0, 0.0, now);
                rest = &rest[1..];
                continue;
            };
            let batch = rest.iter().take_while(|step| is_of(step, *worker)).count().max(1);
            let events: Vec<KvEvent> = rest[..batch].iter().flat_map(|step| match step {
                Step::Apply(_, events) => events.clone(),
                _ => Vec::new(),
            }).collect();
            let mut applied = alone.0.apply(*worker, 0.0, &[]);
            for event in &events {
                let Applied { stored, removed, orphaned, unknown_removals, dropped } =
                    alone.0.apply(*worker, 0.0, std::slice::from_ref(event));
                applied.stored += stored;
                applied.removed += removed;
                applied.orphaned += orphaned;
                applied.unknown_removals += unknown_removals;
                applied.dropped += dropped;
            }
            prop_assert_eq!(joined.0.apply(*worker, 0.0, &events), applied);
            rest = &rest[batch..];
        }
        for worker in (0..3).map(WorkerId) {
            let (mut held, mut others) = (joined.0.residents(worker), alone.0.residents(worker));
            held.sort_unstable();
            others.sort_unstable();
            prop_assert_eq!(held, others);
            prop_assert_eq!(joined.1.state(worker), alone.1.state(worker));
        }
        for chain in &chains {
            prop_assert_eq!(joined.1.query(chain), alone.1.query(chain));
            prop_assert_eq!(joined.1.explain(chain), alone.1.explain(chain));
        }
    }

    /// Limits that are too low lose answers, never truth: nothing is found that the engine does not hold.
    #[test]
    fn limits_lose_answers_and_say_so(steps in engines(), max_orphans in 0..4_usize, max_remembered in 0..4_usize) {
        let settings = settings().with_max_orphans(max_orphans).with_max_remembered(max_remembered);
        let (mut writer, reader) = ExactIndex::new(settings);
        let mut model = ModelIndex::new(settings);
        let chains = prompts(reader.hasher());
        for now in &steps {
            step(&mut writer, 0.0, now);
            step(&mut model, 0.0, now);
        }
        for chain in &chains {
            let (found, truth) = (reader.query(chain), model.query(chain));
            for overlap in &found {
                prop_assert!(overlap.leading <= truth.leading(overlap.worker));
            }
            for overlap in truth.iter().filter(|overlap| found.leading(overlap.worker) < overlap.leading) {
                prop_assert_ne!(reader.state(overlap.worker), WorkerState::Exact);
            }
        }
        prop_assert!(reader.stats().remembered <= 3 * max_remembered);
        prop_assert!(reader.stats().held.orphans <= 3 * max_orphans * 6, "a block once for each group and medium");
    }
}

/// Whatever little room there is for all, what is said is never too much, and exact only when it is not too little.
fn says_no_more_than_the_model(
    steps: &[Step],
    chains: impl Fn(&BlockHasher) -> Vec<Chain>,
    most: usize,
) -> Result<(), TestCaseError> {
    let settings = settings().with_max_blocks_in_all(most);
    let (mut writer, reader) = ExactIndex::new(settings);
    let mut model = ModelIndex::new(settings);
    let chains = chains(reader.hasher());
    for now in steps {
        step(&mut writer, 0.0, now);
        step(&mut model, 0.0, now);
        for chain in &chains {
            let (found, truth) = (reader.query(chain), model.query(chain));
            prop_assert!(found.shared() <= truth.shared());
            for overlap in &found {
                prop_assert!(overlap.leading <= truth.leading(overlap.worker), "{overlap:?}, {truth:?}");
            }
            for overlap in &truth {
                let is_exact = reader.state(overlap.worker) == WorkerState::Exact;
                prop_assert!(!is_exact || found.get(overlap.worker) == Some(overlap));
            }
        }
        for worker in (0..3).map(WorkerId) {
            let truth = model.residents(worker);
            for held in writer.residents(worker) {
                prop_assert!(truth.iter().any(|there| held.copies <= there.copies
                    && (&held.block, held.group, held.medium) == (&there.block, there.group, there.medium)));
            }
        }
    }
    let stats = reader.stats();
    let residents: usize = (0..3).map(|worker| writer.residents(WorkerId(worker)).len()).sum();
    prop_assert_eq!(stats.held.residents, residents);
    for worker in (0..3).map(WorkerId) {
        writer.remove_worker(worker);
    }
    let left = reader.stats();
    prop_assert_eq!((left.held, left.remembered, left.workers), (Held::default(), 0, 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn too_many_blocks_in_all_lose_answers_and_say_so(steps in engines(), most in 0..12_usize) {
        says_no_more_than_the_model(&steps, prompts, most)?;
    }

    #[test]
    fn too_many_blocks_in_all_do_so_at_full_width(steps in full_width_engines(), most in 0..12_usize) {
        says_no_more_than_the_model(&steps, full_width_prompts, most)?;
    }
}

#[test]
fn what_nothing_was_stored_in_for_long_goes_first() {
    let (mut writer, reader) = ExactIndex::new(settings().with_max_blocks_in_all(100));
    writer.set_state(W, WorkerState::Exact);
    let turn = |number: u32, name: u64| stored(None, [name], &[number, number]);
    let ask = |number: u32| reader.query(&reader.hasher().chain(&[number, number], &Namespace::default())).leading(W);
    for number in 0..1000_u32 {
        let again = KvEvent::BlockStored(turn(7, 7));
        writer.apply(W, 0.0, &[KvEvent::BlockStored(turn(number, number.into())), again]);
        assert!(reader.stats().blocks <= 101, "{} blocks after {number}", reader.stats().blocks);
    }
    assert_eq!((ask(7), ask(999), ask(500)), (1, 1, 0), "what is used again and again stays");
    assert_eq!(reader.state(W), WorkerState::Approximate);
    let dropped = reader.stats().dropped;
    assert!(dropped >= 900, "{dropped}");
    assert_eq!(reader.stats().held.residents, reader.stats().blocks);

    let applied = writer.apply(W, 0.0, &[removed(Medium::Gpu, (0..1000).filter(|&name| name != 7))]);
    assert_eq!((applied.unknown_removals, reader.stats().held.residents), (0, 1), "the engine removes what it held");
    let applied = writer.apply(W, 0.0, &[removed(Medium::Gpu, [2000])]);
    assert_eq!(applied.unknown_removals, 1);
    writer.clear(W);
    assert_eq!(reader.state(W), WorkerState::Exact, "once more from the beginning");
}

#[test]
fn a_worker_that_holds_too_much_loses_what_comes_last_and_is_no_longer_exact() {
    let (mut writer, reader) = ExactIndex::new(settings().with_max_blocks(3));
    writer.set_state(W, WorkerState::Exact);
    let (chain, event) = prompt(&reader, 5);

    let applied = writer.apply(W, 0.0, &[event]);

    assert_eq!((applied.stored, applied.dropped), (3, 2));
    assert_eq!((reader.query(&chain).leading(W), reader.state(W)), (3, WorkerState::Approximate));
    assert_eq!((reader.stats().held.residents, reader.stats().dropped), (3, 2));
    assert_eq!(writer.apply(W, 0.0, &[prompt(&reader, 3).1]).stored, 3, "more copies need no more room");
}

#[test]
fn a_wide_block_may_have_two_names() {
    let (mut writer, reader) = ExactIndex::new(settings());
    let chain = reader.hasher().chain(&[1, 2, 3, 4, 5], &Namespace::default());
    for name in [2, 5] {
        writer.apply(W, 0.0, &[KvEvent::BlockStored(stored(None, [name], &[1, 2, 3, 4]))]);
    }
    for (name, left) in [(2, 2), (5, 0)] {
        assert_eq!(writer.apply(W, 0.0, &[removed(Medium::Gpu, [name])]).removed, 1);
        assert_eq!(reader.query(&chain).leading(W), left);
    }
}

/// Says of one block what is in it.
fn say(name: u64, parent: Option<u64>, tokens: &[u32]) -> KvEvent {
    KvEvent::BlockStored(stored(parent, [name], tokens))
}

fn leading(reader: &ExactReader, tokens: &[u32]) -> u32 {
    reader.query(&reader.hasher().chain(tokens, &Namespace::default())).leading(W)
}

#[test]
fn a_name_that_is_given_anew_is_where_it_is_held() {
    // The second name of a block is the worker's own, and stays where it was for as long as it is remembered.
    let again = [say(1, None, &[1, 2]), say(2, None, &[1, 2]), removed(Medium::Gpu, [2]), say(2, None, &[3, 4])];
    let (mut writer, reader) = ExactIndex::new(settings());
    writer.apply(W, 0.0, &again);
    assert_eq!((leading(&reader, &[1, 2]), leading(&reader, &[3, 4])), (1, 1));
    writer.apply(W, 0.0, &[say(3, Some(2), &[5, 6])]);
    assert_eq!((leading(&reader, &[1, 2, 5, 6]), leading(&reader, &[3, 4, 5, 6])), (1, 2));
    assert_eq!(writer.apply(W, 0.0, &[removed(Medium::Gpu, [2])]).removed, 1);
    assert_eq!((leading(&reader, &[1, 2]), leading(&reader, &[3, 4])), (1, 0));

    // Where another name has the block already, it is the worker's own there too.
    let (mut writer, reader) = ExactIndex::new(settings());
    writer.apply(W, 0.0, &[&again[..3], &[say(9, None, &[3, 4]), again[3].clone()]].concat());
    assert_eq!(writer.apply(W, 0.0, &[removed(Medium::Gpu, [2])]).removed, 1);
    assert_eq!(writer.apply(W, 0.0, &[removed(Medium::Gpu, [9])]).removed, 1);
    assert_eq!(leading(&reader, &[3, 4]), 0);
}

#[test]
fn a_name_that_is_held_means_no_other_block() {
    let (mut writer, reader) = ExactIndex::new(settings());
    writer.apply(W, 0.0, &[say(1, None, &[1, 2]), say(2, None, &[1, 2]), say(2, None, &[3, 4]), say(2, None, &[5, 6])]);
    assert_eq!((leading(&reader, &[1, 2]), leading(&reader, &[3, 4]), leading(&reader, &[5, 6])), (1, 0, 0));
    let mut residents = writer.residents(W);
    residents.sort_unstable();
    assert_eq!(residents.iter().map(|held| held.copies).collect::<Vec<_>>(), [1, 3]);
    let standing = |_| Some(crate::index::Standing::new("engine"));
    ExactIndex::restore(settings(), &writer.snapshot(standing), |_| Ok(W)).expect("no name stands twice");
}

#[test]
fn hundreds_of_removals_of_every_kind_are_one_by_one_what_they_are_at_once() {
    let (mut joined, mut alone) = (ExactIndex::new(settings()), ExactIndex::new(settings()));
    let tokens: Vec<u32> = (0..2000).flat_map(|block| [block, 7]).collect();
    let orphans = (5000..5100).map(|name| say(name, Some(name + 1000), &[1, 1]));
    let placed = KvEvent::BlockStored(stored(None, 0..1000, &tokens[..2000]));
    let both = KvEvent::BlockStored(stored(None, 0..10, &tokens[..20]));
    let events: Vec<_> =
        orphans.chain([placed, both, KvEvent::BlockStored(offloaded(Medium::Cpu, 500..600))]).collect();
    // From the end, with gaps and twice; orphans; names that were never there; and another medium in between.
    let gone = (0..400_u64).flat_map(|nth| [999 - nth * 2, 5000 + nth % 150, 7000 + nth, nth % 20]);
    let gone: Vec<_> = gone.map(|name| removed(if name == 502 { Medium::Cpu } else { Medium::Gpu }, [name])).collect();
    joined.0.apply(W, 0.0, &events);
    alone.0.apply(W, 0.0, &events);
    let together = joined.0.apply(W, 1.0, &gone);
    let mut sum = Applied::default();
    for event in &gone {
        let applied = alone.0.apply(W, 1.0, std::slice::from_ref(event));
        sum.removed += applied.removed;
        sum.unknown_removals += applied.unknown_removals;
    }
    assert_eq!(together, sum);
    assert!(together.removed > 500 && together.unknown_removals > 300, "{together:?}");
    let sorted = |index: &(ExactWriter, ExactReader)| {
        let mut residents = index.0.residents(W);
        residents.sort_unstable();
        residents
    };
    assert_eq!(sorted(&joined), sorted(&alone));
    for blocks in [1, 5, 300, 1000] {
        let chain = joined.1.hasher().chain(&tokens[..2 * blocks], &Namespace::default());
        assert_eq!(joined.1.explain(&chain), alone.1.explain(&chain));
    }
}

#[test]
fn of_too_many_orphans_the_oldest_go() {
    let (mut writer, reader) = ExactIndex::new(settings().with_max_orphans(2));
    writer.set_state(W, WorkerState::Exact);
    let (chain, _) = prompt(&reader, 4);

    for block in [1, 2, 3] {
        let event = stored(Some(block - 1), [block], &[u32::try_from(block).unwrap(), 1]);
        writer.apply(W, 0.0, &[KvEvent::BlockStored(event)]);
    }
    assert_eq!(reader.stats().held, Held { residents: 3, orphans: 2, unplaced: 1 });
    assert_eq!((reader.stats().dropped, reader.state(W)), (1, WorkerState::Approximate));

    writer.apply(W, 0.0, &[prompt(&reader, 2).1]);
    assert_eq!((reader.query(&chain).leading(W), reader.state(W)), (4, WorkerState::Exact), "its tokens came again");
}

#[test]
fn an_orphan_whose_parent_may_have_been_forgotten_is_nothing_exact() {
    let (mut writer, reader) = ExactIndex::new(settings().with_max_remembered(0));
    writer.set_state(W, WorkerState::Exact);
    let (chain, event) = prompt(&reader, 1);
    let child = KvEvent::BlockStored(stored(Some(0), [1], &[1, 1]));

    writer.apply(W, 0.0, &[event, KvEvent::AllBlocksCleared]);
    writer.apply(W, 0.0, &[child]);
    assert_eq!((reader.query(&chain).leading(W), reader.state(W)), (0, WorkerState::Approximate));

    writer.apply(W, 0.0, &[prompt(&reader, 1).1]);
    assert_eq!((reader.query(&chain).leading(W), reader.state(W)), (1, WorkerState::Exact), "its parent came again");
}

#[test]
fn a_name_is_remembered_for_those_who_say_no_more() {
    let (mut writer, reader) = ExactIndex::new(settings().with_max_remembered(2));
    let (chain, event) = prompt(&reader, 3);
    writer.apply(W, 0.0, &[event, removed(Medium::Gpu, [2, 1, 0])]);
    assert_eq!(reader.stats().remembered, 2);

    writer.apply(W, 1.0, &[KvEvent::BlockStored(offloaded(Medium::Cpu, [0, 1, 2]))]);

    assert_eq!(reader.query(&chain).get(W).unwrap().leading_by_medium, [0, 2, 0]);
    assert_eq!(reader.stats().held.unplaced, 1, "the oldest removal is forgotten");
}

#[test]
fn a_fate_is_forgotten_with_its_removal_and_no_earlier() {
    let (mut writer, reader) = ExactIndex::new(settings().with_max_remembered(2));
    let (chain, event) = prompt(&reader, 1);
    let fate = || reader.explain(&chain).get(W).unwrap().next;
    writer.set_state(W, WorkerState::Exact);
    let twice = [event, removed(Medium::Gpu, [0])];
    writer.apply(W, 1.0, &twice);
    writer.apply(W, 2.0, &twice);
    for (block, expected) in [(8, BlockFate::Evicted { at: 2.0 }), (9, BlockFate::NeverStored)] {
        let other = KvEvent::BlockStored(stored(None, [block], &[77, u32::try_from(block).unwrap()]));
        writer.apply(W, 3.0, &[other, removed(Medium::Gpu, [block])]);
        assert_eq!(fate(), Some(expected));
    }
}

#[test]
fn parents_that_wait_for_each_other_wait_forever_and_do_no_harm() {
    let (mut writer, reader) = ExactIndex::new(settings());
    let around = [stored(Some(2), [1], &[1, 1]), stored(Some(1), [2], &[2, 2]), stored(Some(3), [3], &[3, 3])];
    writer.apply(W, 0.0, &around.map(KvEvent::BlockStored));
    assert_eq!(reader.stats().held.orphans, 3);

    writer.remove_worker(W);
    let empty = IndexStats { bytes: ExactIndex::new(settings()).0.span.bytes(), ..IndexStats::default() };
    assert_eq!(reader.stats(), empty);
}

#[test]
fn bytes_are_counted_wherever_they_are() {
    let (mut writer, reader) = ExactIndex::new(settings());
    let (_, event) = prompt(&reader, 10_000);
    writer.apply(W, 0.0, &[event]);
    let held = reader.stats();
    assert_eq!((held.runs, held.names, held.blocks), (2, 10_000, 10_000));
    assert!((32..256).contains(&(held.bytes / 10_000)), "{} bytes", held.bytes);

    writer.apply(W, 0.0, &[removed(Medium::Gpu, 0..10_000)]);
    let gone = reader.stats();
    let remembered = settings().max_remembered.min(10_000);
    assert_eq!((gone.runs, gone.names, gone.blocks, gone.remembered), (0, 0, 0, remembered));
    assert!(gone.bytes > held.bytes + remembered * 40, "what is remembered takes room");

    let orphan = |block: u64| KvEvent::BlockStored(stored(Some(block), [block + 1], &[7, 7]));
    writer.apply(W, 0.0, &(20_000..21_000).map(orphan).collect::<Vec<_>>());
    let waiting = reader.stats();
    assert!(waiting.bytes > gone.bytes + 1000 * 100, "so do orphans");
    writer.remove_worker(W);
    assert!(reader.stats().bytes <= held.bytes + (1 << 16), "{:?}", reader.stats());
}

#[test]
fn a_long_chain_of_orphans_finds_its_place_at_once() {
    const BLOCKS: u32 = 10_000;
    let (mut writer, reader) = ExactIndex::new(settings());
    let (chain, _) = prompt(&reader, BLOCKS);
    let orphans: Vec<_> = (1..BLOCKS)
        .rev()
        .map(|block| KvEvent::BlockStored(stored(Some(u64::from(block) - 1), [block.into()], &[block, 1])))
        .collect();
    assert_eq!(writer.apply(W, 0.0, &orphans).orphaned, 9_999);

    writer.apply(W, 0.0, &[prompt(&reader, 1).1]);

    assert_eq!(reader.query(&chain).leading(W), BLOCKS);
    assert_eq!(reader.stats().held.orphans, 0);
}

#[test]
fn readers_see_blocks_come_while_the_writer_writes() {
    const BLOCKS: u32 = 64;
    let (mut writer, reader) = ExactIndex::new(settings());
    let (chain, _) = prompt(&reader, BLOCKS);
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (reader, mut overlap, mut most) = (reader.clone(), Overlap::default(), 0);
            loop {
                let is_last = written.load(Ordering::Acquire);
                reader.query_into(&chain, &mut overlap);
                let leading = overlap.leading(W);
                assert!(leading >= most, "{leading} blocks after {most}, and none was removed");
                most = leading;
                if is_last {
                    return most;
                }
            }
        });
        for blocks in 1..=BLOCKS {
            writer.apply(W, 0.0, &[prompt(&reader, blocks).1]);
        }
        written.store(true, Ordering::Release);
        assert_eq!(reading.join().unwrap(), BLOCKS);
    });
}

#[test]
fn an_explanation_can_be_read_aloud() {
    let (mut writer, reader) = ExactIndex::new(settings());
    let (chain, event) = prompt(&reader, 4);
    writer.set_state(W, WorkerState::Exact);
    writer.set_state(WorkerId(1), WorkerState::Exact);
    writer.apply(W, 0.0, &[event.clone(), KvEvent::BlockStored(offloaded(Medium::Cpu, [0, 1, 9]))]);
    writer.apply(W, 1.25, &[removed(Medium::Gpu, [1, 2])]);
    writer.apply(WorkerId(1), 0.0, &[event, KvEvent::AllBlocksCleared]);

    expect_test::expect![[r#"
        4 full blocks of 2 tokens
        worker 0 (approximate): holds 2 leading (1 on GPU, 2 on CPU, 0 on STORAGE); block 2 was evicted at 1.250 s of the engine's clock; 1 behind it are held but cannot be reached; 1 blocks are held whose place is not known
        worker 1 (exact): holds 0 leading; block 0 was cleared with the whole cache
    "#]]
    .assert_eq(&reader.explain(&chain).to_string());
}

#[test]
fn a_name_that_is_given_twice_means_the_first_block() {
    let (mut writer, reader) = ExactIndex::new(settings());
    let twice = KvEvent::BlockStored(stored(None, [5, 5, 6], &[0, 1, 1, 1, 2, 1]));

    let applied = writer.apply(W, 0.0, std::slice::from_ref(&twice));

    assert_eq!(applied.stored, 3);
    let mut model = ModelIndex::new(settings());
    model.apply(W, 0.0, &[twice]);
    let (mut held, mut truth) = (writer.residents(W), model.residents(W));
    held.sort_unstable();
    truth.sort_unstable();
    assert_eq!(held, truth);
    assert_eq!(reader.query(&prompt(&reader, 3).0), model.query(&prompt(&reader, 3).0));
}
