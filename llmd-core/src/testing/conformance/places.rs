//! Where a block stands, when the engine does not say it at once, or not at all.

use super::{PROMPT, W, chain, leading, prompt, store};
use crate::event::{BlockStored, EventExtraKey, SpecKind};
use crate::hash::Namespace;
use crate::index::{IndexWriter, PrefixIndex, WorkerState};
use crate::testing::{names, offloaded, removed, stored};
use crate::{GroupIdx, Medium, WorkerId};

pub(super) fn children_may_come_before_their_parents(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
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

pub(super) fn names_alone_wait_for_their_place(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, offloaded(Medium::Cpu, [2, 1]));
    assert_eq!((leading(reader, W), reader.state(W)), (0, WorkerState::Approximate));
    assert_eq!(reader.explain(&chain(reader)).get(W).expect("it is known").unplaced, 2);

    store(writer, W, stored(None, [1, 2], &PROMPT[..4]));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [1, 2])]);
    assert_eq!((leading(reader, W), reader.state(W)), (2, WorkerState::Exact));
}

pub(super) fn a_tier_that_lists_no_keys_places_nothing(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, BlockStored { medium: Medium::Cpu, ..prompt() });
    assert_eq!(leading(reader, W), 0, "these blocks may have been salted");

    let salt = vec![EventExtraKey::Text("salt".into())];
    store(writer, W, BlockStored { extra_keys: vec![salt, vec![], vec![], vec![]], ..prompt() });
    assert_eq!(leading(reader, W), 0);
    let salted = reader.hasher().chain(&PROMPT, &Namespace::default().with_cache_salt("salt"));
    assert_eq!(reader.query(&salted).get(W).map(|overlap| overlap.on(Medium::Cpu)), Some(4));
}

pub(super) fn every_full_attention_group_must_hold_a_block(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, BlockStored { group_idx: GroupIdx(1), ..stored(None, [1, 2], &PROMPT[..4]) });
    assert_eq!(leading(reader, W), 2);

    store(writer, W, BlockStored { group_idx: GroupIdx(1), ..stored(Some(2), [3], &PROMPT[4..6]) });
    assert_eq!(leading(reader, W), 3);
}

pub(super) fn what_is_not_placed_is_counted_and_never_exact(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let hybrid = BlockStored { spec_kind: SpecKind::SlidingWindow, group_idx: GroupIdx(1), ..prompt() };
    let other_size = stored(None, [1], &PROMPT[..3]);
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
