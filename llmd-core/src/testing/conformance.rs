//! What every index that is fed with events must do.

use std::cell::{Cell, RefCell};

use super::{names, offloaded, reader, removed, stored};
use crate::event::{BlockStored, EventExtraKey, KvEvent, SpecKind};
use crate::hash::{Chain, Namespace};
use crate::index::{Applied, BlockFate, IndexWriter, PrefixIndex, Resident, WorkerState};
use crate::{ExternalBlockHash, GroupIdx, Medium, TokenId, WorkerId};

const W: WorkerId = WorkerId(4);
const BLOCK_SIZE: usize = 2;
/// A prompt of four blocks, which the engine of these tests names 1, 2, 3, 4.
const PROMPT: [TokenId; 8] = [11, 12, 21, 22, 31, 32, 41, 42];

/// Runs the sentences that every pair of an [`IndexWriter`] and a [`PrefixIndex`] must make true.
///
/// `make` gives an empty index for blocks of so many tokens.
///
/// # Panics
///
/// When one is not true.
pub fn index<W: IndexWriter, R: PrefixIndex>(make: impl Fn(usize) -> (W, R)) {
    readers_answer_as_all_readers_do(&make);
    let sentences = [
        a_removed_block_ends_the_prefix_until_it_comes_back,
        a_block_goes_with_its_last_copy,
        names_are_a_workers_own,
        a_block_may_have_two_names,
        media_are_told_apart,
        clearing_leaves_what_is_not_on_the_gpu,
        children_may_come_before_their_parents,
        names_alone_wait_for_their_place,
        a_tier_that_lists_no_keys_places_nothing,
        every_full_attention_group_must_hold_a_block,
        what_is_not_placed_is_counted_and_never_exact,
        an_event_without_names_changes_nothing,
        what_was_never_there_cannot_be_removed,
        a_new_worker_is_recovering_until_told_otherwise,
        a_cleared_worker_is_still_known,
        a_removed_worker_is_not,
        a_missing_block_has_a_fate,
    ];
    for sentence in sentences {
        let (mut writer, reader) = make(BLOCK_SIZE);
        sentence(&mut writer, &reader);
    }
}

fn readers_answer_as_all_readers_do<W: IndexWriter, R: PrefixIndex>(make: impl Fn(usize) -> (W, R)) {
    let writer = RefCell::new(None);
    let named = Cell::new(0);
    let make = |block_size| {
        let (new, reader) = make(block_size);
        writer.replace(Some(new));
        reader
    };
    reader(make, |reader: &R, worker, tokens, namespace| {
        let size = reader.hasher().block_size();
        let blocks = tokens.len() / size;
        let first = named.replace(named.get() + blocks as u64);
        let mut event = stored(None, (first..).take(blocks), &tokens[..blocks * size]);
        event.lora_name = namespace.lora.as_ref().map(|lora| lora.name.clone());
        let keys = (0..blocks).map(|block| {
            let salt = namespace.cache_salt.clone().filter(|_| block == 0);
            event.lora_name.iter().cloned().chain(salt).map(EventExtraKey::Text).collect()
        });
        event.extra_keys = keys.collect();
        let mut writer = writer.borrow_mut();
        writer.as_mut().expect("an index was made").apply(worker, 0.0, &[KvEvent::BlockStored(event)]);
    });
}

fn a_removed_block_ends_the_prefix_until_it_comes_back(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    assert_eq!(leading(reader, W), 4);

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!(leading(reader, W), 1);
    assert_eq!(reader.explain(&chain(reader)).get(W).expect("it is known").held_behind, 2);

    store(writer, W, stored(Some(1), [2], &PROMPT[2..4]));
    assert_eq!(leading(reader, W), 4);
}

fn a_block_goes_with_its_last_copy(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    let again = store(writer, W, prompt());
    assert_eq!((again.stored, again.orphaned), (4, 0));
    assert_eq!(resident(writer, W, 2).map(|resident| resident.copies), Some(2));

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!((leading(reader, W), resident(writer, W, 2).map(|resident| resident.copies)), (4, Some(1)));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!((leading(reader, W), resident(writer, W, 2)), (1, None));
}

fn names_are_a_workers_own(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let other = WorkerId(1);
    store(writer, W, prompt());
    store(writer, other, stored(None, [2, 1], &PROMPT[..4]));
    assert_eq!((leading(reader, W), leading(reader, other)), (4, 2));

    writer.apply(other, 1.0, &[removed(Medium::Gpu, [1])]);
    assert_eq!((leading(reader, W), leading(reader, other)), (4, 1));
}

fn a_block_may_have_two_names(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, stored(None, [101, 102], &PROMPT[..4]));

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [1, 102])]);
    assert_eq!(leading(reader, W), 4, "101 and 2 are left");
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [101])]);
    assert_eq!(leading(reader, W), 0);
}

fn media_are_told_apart(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, offloaded(Medium::Cpu, [1, 2, 3]));
    store(writer, W, offloaded(Medium::Storage, [2]));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [3])]);

    let overlap = *reader.query(&chain(reader)).get(W).expect("it holds the first block");
    assert_eq!(overlap.leading_by_medium, [2, 3, 0]);
    assert_eq!(overlap.leading, 4, "GPU, GPU, CPU, GPU");
}

fn clearing_leaves_what_is_not_on_the_gpu(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, prompt());
    store(writer, W, offloaded(Medium::Cpu, [1, 2]));

    let applied = writer.apply(W, 1.0, &[KvEvent::AllBlocksCleared]);
    assert_eq!(applied.removed, 8);
    assert_eq!(leading(reader, W), 2);
    assert_eq!(residents(writer, W), [(Medium::Cpu, 1, 1), (Medium::Cpu, 2, 1)]);
}

fn children_may_come_before_their_parents(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    for (parent, block) in [(3, 4), (2, 3), (1, 2)] {
        let tokens = &PROMPT[2 * parent as usize..][..2];
        assert_eq!(store(writer, W, stored(Some(parent), [block], tokens)).orphaned, 1);
    }
    assert_eq!(leading(reader, W), 0);
    assert_eq!(reader.state(W), WorkerState::Exact, "what has no parent cannot be hit");

    store(writer, W, stored(None, [1], &PROMPT[..2]));
    assert_eq!(leading(reader, W), 4);
}

fn names_alone_wait_for_their_place(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, offloaded(Medium::Cpu, [2, 1]));
    assert_eq!((leading(reader, W), reader.state(W)), (0, WorkerState::Approximate));
    assert_eq!(reader.explain(&chain(reader)).get(W).expect("it is known").unplaced, 2);

    store(writer, W, stored(None, [1, 2], &PROMPT[..4]));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [1, 2])]);
    assert_eq!((leading(reader, W), reader.state(W)), (2, WorkerState::Exact));
}

fn a_tier_that_lists_no_keys_places_nothing(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, BlockStored { medium: Medium::Cpu, ..prompt() });
    assert_eq!(leading(reader, W), 0, "these blocks may have been salted");

    let salt = vec![EventExtraKey::Text("salt".into())];
    store(writer, W, BlockStored { extra_keys: vec![salt, vec![], vec![], vec![]], ..prompt() });
    assert_eq!(leading(reader, W), 0);
    let salted = reader.hasher().chain(&PROMPT, &Namespace::default().with_cache_salt("salt"));
    assert_eq!(reader.query(&salted).get(W).map(|overlap| overlap.on(Medium::Cpu)), Some(4));
}

fn every_full_attention_group_must_hold_a_block(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, BlockStored { group_idx: GroupIdx(1), ..stored(None, [1, 2], &PROMPT[..4]) });
    assert_eq!(leading(reader, W), 2);

    store(writer, W, BlockStored { group_idx: GroupIdx(1), ..stored(Some(2), [3], &PROMPT[4..6]) });
    assert_eq!(leading(reader, W), 3);
}

fn what_is_not_placed_is_counted_and_never_exact(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let hybrid = BlockStored { spec_kind: SpecKind::SlidingWindow, group_idx: GroupIdx(1), ..prompt() };
    let other_size = stored(None, [1], &PROMPT[..4]);
    let sparse = BlockStored { block_hashes: names([2, 4]), ..prompt() };
    let one_key_missing = BlockStored { extra_keys: vec![vec![]; 3], ..prompt() };
    for (worker, event) in (0..).map(WorkerId).zip([hybrid, other_size, sparse, one_key_missing]) {
        writer.set_state(worker, WorkerState::Exact);
        assert_eq!(reader.state(worker), WorkerState::Exact);
        let held = event.block_hashes.len();
        store(writer, worker, event);
        assert_eq!(reader.state(worker), WorkerState::Approximate);
        assert_eq!((writer.residents(worker).len(), leading(reader, worker)), (held, 0));

        store(writer, worker, stored(None, [91, 92], &PROMPT[..4]));
        assert_eq!((leading(reader, worker), reader.state(worker)), (2, WorkerState::Approximate));
        writer.clear(worker);
        assert_eq!(reader.state(worker), WorkerState::Exact);
    }
}

fn an_event_without_names_changes_nothing(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, prompt());
    let empty = BlockStored { block_hashes: vec![], ..prompt() };
    assert_eq!(store(writer, W, empty), Applied::default());
    assert_eq!(writer.apply(W, 1.0, &[removed(Medium::Gpu, [])]), Applied::default());
    assert_eq!((leading(reader, W), reader.state(W)), (4, WorkerState::Exact));
}

fn what_was_never_there_cannot_be_removed(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    let mut elsewhere = removed(Medium::Gpu, [1]);
    if let KvEvent::BlockRemoved(removed) = &mut elsewhere {
        removed.group_idx = GroupIdx(1);
    }
    let applied = writer.apply(W, 1.0, &[removed(Medium::Gpu, [9]), removed(Medium::Cpu, [1]), elsewhere]);
    assert_eq!((applied.removed, applied.unknown_removals), (0, 3));
    assert_eq!(leading(reader, W), 4);
}

fn a_new_worker_is_recovering_until_told_otherwise(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    assert_eq!(reader.state(W), WorkerState::Recovering);
    store(writer, W, prompt());
    assert_eq!(reader.state(W), WorkerState::Recovering);
    for state in [WorkerState::Exact, WorkerState::Approximate, WorkerState::Recovering] {
        writer.set_state(W, state);
        assert_eq!((reader.state(W), leading(reader, W)), (state, 4));
    }
}

fn a_cleared_worker_is_still_known(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let other = WorkerId(0);
    store(writer, W, prompt());
    store(writer, other, prompt());
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, offloaded(Medium::Cpu, [1]));

    writer.clear(W);
    assert_eq!((leading(reader, W), writer.residents(W)), (0, vec![]));
    assert_eq!(reader.state(W), WorkerState::Exact);
    assert_eq!(leading(reader, other), 4);
    assert_eq!(reader.explain(&chain(reader)).workers.len(), 2);
}

fn a_removed_worker_is_not(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let other = WorkerId(0);
    store(writer, W, prompt());
    store(writer, other, prompt());
    writer.set_state(W, WorkerState::Exact);

    writer.remove_worker(W);
    writer.remove_worker(WorkerId(77));
    assert_eq!((leading(reader, W), writer.residents(W)), (0, vec![]));
    assert_eq!(reader.state(W), WorkerState::Recovering);
    assert_eq!(leading(reader, other), 4);
    assert_eq!(reader.explain(&chain(reader)).workers.len(), 1);
}

fn a_missing_block_has_a_fate(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let fate = || reader.explain(&chain(reader)).get(W).expect("it is known").next;
    writer.set_state(W, WorkerState::Exact);
    assert_eq!(fate(), Some(BlockFate::NeverStored));
    store(writer, W, prompt());
    assert_eq!(fate(), None);
    writer.apply(W, 12.5, &[removed(Medium::Gpu, [3])]);
    assert_eq!(fate(), Some(BlockFate::Evicted { at: 12.5 }));
    writer.apply(W, 13.0, &[KvEvent::AllBlocksCleared]);
    assert_eq!(fate(), Some(BlockFate::Cleared));
}

fn prompt() -> BlockStored {
    stored(None, 1..=4, &PROMPT)
}

fn chain(reader: &dyn PrefixIndex) -> Chain {
    reader.hasher().chain(&PROMPT, &Namespace::default())
}

fn leading(reader: &dyn PrefixIndex, worker: WorkerId) -> u32 {
    reader.query(&chain(reader)).leading(worker)
}

fn store(writer: &mut dyn IndexWriter, worker: WorkerId, event: BlockStored) -> Applied {
    writer.apply(worker, 0.0, &[KvEvent::BlockStored(event)])
}

fn resident(writer: &dyn IndexWriter, worker: WorkerId, name: u64) -> Option<Resident> {
    let name = ExternalBlockHash::from_int(name);
    writer.residents(worker).into_iter().find(|resident| resident.block == name)
}

/// Medium, name, copies; in order.
fn residents(writer: &dyn IndexWriter, worker: WorkerId) -> Vec<(Medium, u64, u32)> {
    let residents = writer.residents(worker).into_iter();
    let mut residents: Vec<_> = residents
        .map(|resident| (resident.medium, resident.block.as_int().expect("these names are integers"), resident.copies))
        .collect();
    residents.sort_unstable();
    residents
}
