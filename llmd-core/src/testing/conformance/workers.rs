//! Workers come, are judged, and go.

use super::{PROMPT, W, chain, leading, prompt, store};
use crate::event::KvEvent;
use crate::index::{BlockFate, IndexWriter, PrefixIndex, WorkerState};
use crate::testing::{offloaded, removed, stored};
use crate::{Medium, WorkerId};

pub(super) fn a_new_worker_is_recovering_until_told_otherwise(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    assert_eq!(reader.state(W), WorkerState::Recovering);
    store(writer, W, prompt());
    assert_eq!(reader.state(W), WorkerState::Recovering);
    for state in [WorkerState::Exact, WorkerState::Approximate, WorkerState::Recovering] {
        writer.set_state(W, state);
        assert_eq!((reader.state(W), leading(reader, W)), (state, 4));
    }
}

pub(super) fn a_cleared_worker_is_still_known(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let other = WorkerId(0);
    store(writer, W, prompt());
    store(writer, other, prompt());
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, offloaded(Medium::Cpu, [1]));
    store(writer, W, stored(Some(9), [10], &[91, 92]));

    writer.clear(W);
    assert_eq!((leading(reader, W), writer.residents(W)), (0, vec![]));
    assert_eq!(reader.state(W), WorkerState::Exact);
    assert_eq!(leading(reader, other), 4);
    assert_eq!(reader.explain(&chain(reader)).workers.len(), 2);

    store(writer, W, offloaded(Medium::Cpu, [1, 10]));
    store(writer, W, stored(None, [9], &PROMPT[..2]));
    let unplaced = reader.explain(&chain(reader)).get(W).map(|explained| explained.unplaced);
    assert_eq!(unplaced, Some(2), "what was said of a block before is forgotten, whether it waited or not");
}

pub(super) fn a_removed_worker_is_not(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
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

pub(super) fn a_missing_block_has_a_fate(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
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
