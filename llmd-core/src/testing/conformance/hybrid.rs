//! Groups that are not full attention: what their engine's lookup takes.

use super::{PROMPT, W, chain, leading, prompt, residents, store, taken};
use crate::event::{BlockStored, SpecKind};
use crate::index::{Applied, BlockFate, IndexWriter, PrefixIndex, WorkerState};
use crate::testing::{names, offloaded, removed, stored};
use crate::{GroupIdx, Medium};

const SPARSE: GroupIdx = GroupIdx(1);

/// What a group says whose window reaches over two blocks before the next token, of the blocks with these names.
fn window(blocks: &[u64]) -> BlockStored {
    BlockStored { spec_kind: SpecKind::SlidingWindow, sliding_window: Some(5), ..state(blocks) }
}

/// What a group says that keeps a state, of the blocks with these names.
fn state(blocks: &[u64]) -> BlockStored {
    BlockStored {
        block_hashes: names(blocks.iter().copied()),
        spec_kind: SpecKind::Mamba,
        group_idx: SPARSE,
        ..prompt()
    }
}

fn remove(writer: &mut dyn IndexWriter, group: GroupIdx, block: u64) -> Applied {
    let mut event = removed(Medium::Gpu, [block]);
    if let crate::event::KvEvent::BlockRemoved(removed) = &mut event {
        removed.group_idx = group;
    }
    writer.apply(W, 7.0, &[event])
}

pub(super) fn a_window_needs_the_blocks_before_the_end(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, window(&[1, 2, 3, 4]));
    assert_eq!(taken(reader, W), 4);
    remove(writer, SPARSE, 1);
    assert_eq!(taken(reader, W), 4, "it is too far back");

    remove(writer, SPARSE, 4);
    assert_eq!(taken(reader, W), 3);
    remove(writer, SPARSE, 2);
    assert_eq!(taken(reader, W), 0, "3 is not enough, and 1 is gone");
    store(writer, W, window(&[1]));
    assert_eq!(taken(reader, W), 1, "nothing stands before it");
}

pub(super) fn a_state_is_needed_at_the_end_alone(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, state(&[2, 3]));
    assert_eq!(taken(reader, W), 3);
    remove(writer, SPARSE, 3);
    assert_eq!(taken(reader, W), 2);
    remove(writer, GroupIdx(0), 2);
    assert_eq!(taken(reader, W), 0, "the full group holds only the first block, where there is no state");
}

pub(super) fn a_hit_ends_where_every_group_allows_it(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, window(&[2, 3, 4]));
    store(writer, W, BlockStored { group_idx: GroupIdx(2), ..state(&[1, 2, 3]) });
    assert_eq!(taken(reader, W), 3);
    remove(writer, GroupIdx(2), 3);
    assert_eq!(taken(reader, W), 0, "the window allows 4 and 3, the states 2 and 1");
    store(writer, W, window(&[1]));
    assert_eq!(taken(reader, W), 2);
}

pub(super) fn the_last_token_is_never_hit(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, state(&[1, 2, 4]));
    assert_eq!(taken(reader, W), 4, "of nine tokens");
    assert_eq!(leading(reader, W), 2, "of eight tokens: there is no state at the third block");
}

pub(super) fn sparse_names_stand_where_the_full_group_has_them(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, BlockStored { parent_block_hash: None, ..state(&[4, 3]) });
    assert_eq!(
        (taken(reader, W), reader.state(W)),
        (0, WorkerState::Exact),
        "what no full group names, no hit reaches"
    );
    assert_eq!(reader.explain(&chain(reader)).get(W).expect("it is known").unplaced, 0);
    assert_eq!(residents(writer, W), [(Medium::Gpu, 3, 1), (Medium::Gpu, 4, 1)]);

    store(writer, W, stored(None, [1, 2, 3], &PROMPT[..6]));
    assert_eq!((taken(reader, W), reader.state(W)), (3, WorkerState::Exact));
    store(writer, W, stored(Some(3), [4], &PROMPT[6..]));
    assert_eq!(taken(reader, W), 4);
}

pub(super) fn a_group_that_names_nothing_is_one_all_the_same(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, prompt());
    assert_eq!(taken(reader, W), 4);
    assert_eq!(store(writer, W, state(&[])), Applied::default());
    assert_eq!((taken(reader, W), reader.state(W)), (0, WorkerState::Exact), "it has no state anywhere");

    writer.clear(W);
    store(writer, W, prompt());
    assert_eq!(taken(reader, W), 4, "its groups are forgotten with its blocks");
}

pub(super) fn a_lookup_takes_from_the_gpu(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, prompt());
    store(writer, W, state(&[2, 3]));
    assert_eq!(reader.query(&chain(reader)).get(W).map(|held| held.leading_by_medium), Some([3, 0, 0]));

    store(writer, W, offloaded(Medium::Cpu, [1, 2, 3]));
    let overlap = reader.query(&chain(reader)).get(W).expect("it holds a prefix");
    assert_eq!((overlap.leading, overlap.leading_by_medium), (3, [3, 0, 0]));
    assert_eq!(reader.state(W), WorkerState::Approximate, "what its engine would load from there is not known");
}

pub(super) fn a_group_without_a_rule_changes_no_answer(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let without_reach = BlockStored { sliding_window: None, ..window(&[1]) };
    let chunked = BlockStored { spec_kind: SpecKind::ChunkedLocalAttention, ..state(&[1]) };
    let unknown = BlockStored { spec_kind: SpecKind::Unknown, ..state(&[]) };
    for event in [without_reach, chunked, unknown] {
        writer.clear(W);
        writer.set_state(W, WorkerState::Exact);
        store(writer, W, prompt());
        store(writer, W, event);
        assert_eq!((leading(reader, W), reader.state(W)), (4, WorkerState::Approximate));
    }
}

pub(super) fn a_group_stays_what_it_was_first(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, prompt());
    store(writer, W, state(&[2]));
    store(writer, W, BlockStored { group_idx: SPARSE, ..stored(None, [91], &PROMPT[..2]) });
    assert_eq!((taken(reader, W), reader.state(W)), (2, WorkerState::Approximate));
}

pub(super) fn an_explanation_names_the_group(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let explained = || reader.explain(&chain(reader)).get(W).expect("it is known").clone();
    store(writer, W, prompt());
    store(writer, W, state(&[2, 3]));
    assert_eq!((explained().overlap.leading, explained().limited_by), (3, None), "the prompt ends");

    remove(writer, SPARSE, 3);
    assert_eq!((explained().overlap.leading, explained().limited_by), (2, Some(SPARSE)));
    assert_eq!((explained().next, explained().held_behind), (None, 2), "the full group holds more");

    remove(writer, GroupIdx(0), 3);
    assert_eq!((explained().limited_by, explained().next), (Some(GroupIdx(0)), Some(BlockFate::Evicted { at: 7.0 })));
    assert_eq!(explained().held_behind, 1);
}
