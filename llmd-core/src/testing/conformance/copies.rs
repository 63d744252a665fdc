//! Blocks come and go, copy by copy, on each medium.

use super::{PROMPT, W, chain, leading, prompt, resident, residents, store};
use crate::event::{BlockStored, KvEvent};
use crate::index::{Applied, IndexWriter, PrefixIndex, WorkerState};
use crate::testing::{offloaded, removed, stored};
use crate::{GroupIdx, Medium, WorkerId};

pub(super) fn a_removed_block_ends_the_prefix_until_it_comes_back(
    writer: &mut dyn IndexWriter,
    reader: &dyn PrefixIndex,
) {
    store(writer, W, prompt());
    assert_eq!(leading(reader, W), 4);

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!(leading(reader, W), 1);
    assert_eq!(reader.explain(&chain(reader)).get(W).expect("it is known").held_behind, 2);

    store(writer, W, stored(Some(1), [2], &PROMPT[2..4]));
    assert_eq!(leading(reader, W), 4);
}

pub(super) fn a_block_goes_with_its_last_copy(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    let again = store(writer, W, prompt());
    assert_eq!((again.stored, again.orphaned), (4, 0));
    assert_eq!(resident(writer, W, 2).map(|resident| resident.copies), Some(2));

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!((leading(reader, W), resident(writer, W, 2).map(|resident| resident.copies)), (4, Some(1)));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    assert_eq!((leading(reader, W), resident(writer, W, 2)), (1, None));
}

pub(super) fn names_are_a_workers_own(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let other = WorkerId(1);
    store(writer, W, prompt());
    store(writer, other, stored(None, [2, 1], &PROMPT[..4]));
    assert_eq!((leading(reader, W), leading(reader, other)), (4, 2));

    writer.apply(other, 1.0, &[removed(Medium::Gpu, [1])]);
    assert_eq!((leading(reader, W), leading(reader, other)), (4, 1));
}

pub(super) fn a_block_may_have_two_names(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, stored(None, [101, 102], &PROMPT[..4]));

    writer.apply(W, 1.0, &[removed(Medium::Gpu, [1, 102])]);
    assert_eq!(leading(reader, W), 4, "101 and 2 are left");
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [101])]);
    assert_eq!(leading(reader, W), 0);
}

pub(super) fn media_are_told_apart(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, offloaded(Medium::Cpu, [1, 2, 3]));
    store(writer, W, offloaded(Medium::Storage, [2]));
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [3])]);

    let overlap = reader.query(&chain(reader)).get(W).expect("it holds the first block");
    assert_eq!(overlap.leading_by_medium, [2, 3, 0]);
    assert_eq!(overlap.leading, 4, "GPU, GPU, CPU, GPU");
}

pub(super) fn clearing_leaves_what_is_not_on_the_gpu(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, W, prompt());
    store(writer, W, offloaded(Medium::Cpu, [1, 2]));

    let applied = writer.apply(W, 1.0, &[KvEvent::AllBlocksCleared]);
    assert_eq!(applied.removed, 8);
    assert_eq!(leading(reader, W), 2);
    assert_eq!(residents(writer, W), [(Medium::Cpu, 1, 1), (Medium::Cpu, 2, 1)]);
}

pub(super) fn an_event_without_names_changes_nothing(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, prompt());
    let empty = BlockStored { block_hashes: vec![], ..prompt() };
    assert_eq!(store(writer, W, empty), Applied::default());
    assert_eq!(writer.apply(W, 1.0, &[removed(Medium::Gpu, [])]), Applied::default());
    assert_eq!((leading(reader, W), reader.state(W)), (4, WorkerState::Exact));
}

pub(super) fn what_was_never_there_cannot_be_removed(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    let mut elsewhere = removed(Medium::Gpu, [1]);
    if let KvEvent::BlockRemoved(removed) = &mut elsewhere {
        removed.group_idx = GroupIdx(1);
    }
    let applied = writer.apply(W, 1.0, &[removed(Medium::Gpu, [9]), removed(Medium::Cpu, [1]), elsewhere]);
    assert_eq!((applied.removed, applied.unknown_removals), (0, 3));
    assert_eq!(leading(reader, W), 4);
}
