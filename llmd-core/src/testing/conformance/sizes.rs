//! Names that cover several blocks of the index, and names of parts of those.

use super::{PROMPT, W, chain, leading, prompt, store, taken};
use crate::event::{BlockStored, EventExtraKey, SpecKind};
use crate::hash::Namespace;
use crate::index::{BlockFate, IndexWriter, PrefixIndex, WorkerState};
use crate::testing::{names, offloaded, removed, stored};
use crate::{GroupIdx, Medium};

/// The prompt in blocks of four tokens.
fn wide() -> BlockStored {
    stored(None, [2, 4], &PROMPT)
}

pub(super) fn a_name_covers_several_blocks(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, wide());
    assert_eq!((taken(reader, W), reader.state(W)), (4, WorkerState::Exact));
    assert_eq!(leading(reader, W), 2, "the last of eight tokens is computed, and its block of four with it");

    writer.apply(W, 3.0, &[removed(Medium::Gpu, [4])]);
    let explained = reader.explain(&chain(reader)).get(W).expect("it is known").clone();
    assert_eq!((explained.overlap.leading, explained.next), (2, Some(BlockFate::Evicted { at: 3.0 })));
    writer.apply(W, 3.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!(taken(reader, W), 0);
}

pub(super) fn wide_blocks_lie_on_other_media_too(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, wide());
    store(writer, W, offloaded(Medium::Cpu, [2, 4]));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [4])]);
    assert_eq!((taken(reader, W), reader.state(W)), (4, WorkerState::Exact));
    assert_eq!(reader.query(&chain(reader)).get(W).map(|held| held.leading_by_medium), Some([2, 2, 0]));
}

pub(super) fn a_hit_is_a_multiple_of_the_widest_group(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    let wide =
        BlockStored { spec_kind: SpecKind::SlidingWindow, sliding_window: Some(6), group_idx: GroupIdx(1), ..wide() };
    store(writer, W, prompt());
    store(writer, W, wide);
    assert_eq!((taken(reader, W), reader.state(W)), (4, WorkerState::Exact));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [4])]);
    assert_eq!(taken(reader, W), 2, "the full group holds 3");
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!(taken(reader, W), 0);
}

pub(super) fn a_part_of_a_block_can_be_hit(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, stored(None, [2], &PROMPT[..4]));
    store(writer, W, stored(Some(2), [3], &PROMPT[4..6]));
    assert_eq!((taken(reader, W), reader.state(W)), (3, WorkerState::Exact));

    let state = |blocks| BlockStored {
        block_hashes: names(blocks),
        spec_kind: SpecKind::Mamba,
        group_idx: GroupIdx(1),
        ..prompt()
    };
    store(writer, W, BlockStored { block_size: 4, ..state([2]) });
    assert_eq!(taken(reader, W), 2);
    store(writer, W, state([3]));
    assert_eq!(taken(reader, W), 3);

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!(taken(reader, W), 0, "a part is of no use without the blocks before it");
}

pub(super) fn a_part_behind_a_part_without_a_name_is_nothing_exact(
    writer: &mut dyn IndexWriter,
    reader: &dyn PrefixIndex,
) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, wide());
    assert_eq!(store(writer, W, stored(Some(99), [98], &PROMPT[4..6])).orphaned, 1);
    assert_eq!((taken(reader, W), reader.state(W)), (4, WorkerState::Approximate));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [98])]);
    assert_eq!(reader.state(W), WorkerState::Exact, "it is gone");
}

pub(super) fn such_a_part_is_found_by_its_own_name(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let other = [71, 72, 73, 74, 75, 76, 77, 78];
    store(writer, W, stored(None, [94], &other));
    store(writer, W, stored(Some(99), [98], &PROMPT[2..4]));
    assert_eq!(taken(reader, W), 0, "its place is not known");

    let named = chain(reader).with_names(names([99, 98, 97, 96]));
    assert_eq!(reader.query(&named).leading(W), 2);
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [98])]);
    assert_eq!(reader.query(&named).leading(W), 0);
}

pub(super) fn a_salt_stands_in_the_first_of_the_blocks(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let salt = vec![EventExtraKey::Text("salt".into())];
    store(writer, W, BlockStored { extra_keys: vec![salt, vec![]], ..wide() });
    let salted = Namespace::default().with_cache_salt("salt");
    let tokens = [&PROMPT[..], &[99]].concat();
    assert_eq!(reader.query(&reader.hasher().chain(&tokens, &salted)).leading(W), 4);
    assert_eq!(taken(reader, W), 0);
}

pub(super) fn an_image_in_a_wide_block_cannot_be_placed(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    let image = vec![EventExtraKey::Multimodal { identifier: "cafe".into(), offset: 1 }];
    store(writer, W, BlockStored { extra_keys: vec![image, vec![]], ..wide() });
    assert_eq!(
        (taken(reader, W), reader.state(W)),
        (0, WorkerState::Approximate),
        "which blocks it reaches is not said"
    );
}
