//! Storage that all workers share.

use super::{PROMPT, W, chain, leading, prompt, residents, store};
use crate::event::{BlockStored, KvEvent, SpecKind};
use crate::index::{IndexWriter, PrefixIndex, WorkerState};
use crate::testing::{offloaded, removed, stored};
use crate::{GroupIdx, Locality, Medium, WorkerId};

const OTHER: WorkerId = WorkerId(1);

fn share(writer: &mut dyn IndexWriter, worker: WorkerId, blocks: &[u64]) -> usize {
    let event = BlockStored { locality: Locality::Remote, ..offloaded(Medium::Storage, blocks.iter().copied()) };
    store(writer, worker, event).stored
}

fn withdraw(writer: &mut dyn IndexWriter, worker: WorkerId, blocks: &[u64]) -> usize {
    let mut event = removed(Medium::Storage, blocks.iter().copied());
    if let KvEvent::BlockRemoved(removed) = &mut event {
        removed.locality = Locality::Remote;
    }
    let applied = writer.apply(worker, 1.0, &[event]);
    assert_eq!(applied.unknown_removals, 0, "who removed it first does not matter");
    applied.removed
}

pub(super) fn the_pools_blocks_count_for_all_who_hold_some(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, OTHER, stored(None, [91], &PROMPT[..2]));
    store(writer, WorkerId(2), stored(None, [92], &[77, 78]));
    assert_eq!(share(writer, W, &[1, 2, 3]), 3);
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2, 3])]);

    let overlap = reader.query(&chain(reader));
    assert_eq!((overlap.leading(W), overlap.leading(OTHER), overlap.shared()), (4, 3, 3));
    assert_eq!(overlap.len(), 2, "who holds nothing of it is left out");
    let own = overlap.get(W).map(|held| (held.leading_by_medium, held.shared));
    assert_eq!(own, Some(([1, 0, 0], 3)), "what is the pool's is nobody's own");
    assert_eq!(residents(writer, W), [(Medium::Gpu, 1, 1), (Medium::Gpu, 4, 1)]);
}

pub(super) fn one_who_holds_a_later_block_is_not_left_out(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    share(writer, W, &[1]);
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [1, 4])]);
    assert_eq!((leading(reader, W), reader.query(&chain(reader)).shared()), (3, 1));

    withdraw(writer, W, &[1]);
    let overlap = reader.query(&chain(reader));
    assert_eq!((overlap.len(), overlap.shared()), (0, 0));
}

pub(super) fn the_last_word_about_a_shared_block_counts(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let shared = |reader: &dyn PrefixIndex| reader.query(&chain(reader)).shared();
    store(writer, W, prompt());
    store(writer, OTHER, stored(None, [91, 92], &PROMPT[..4]));
    assert_eq!((share(writer, W, &[1, 2]), share(writer, W, &[1, 2]), share(writer, OTHER, &[91])), (2, 0, 0));
    assert_eq!(shared(reader), 2);

    assert_eq!((withdraw(writer, OTHER, &[92]), withdraw(writer, W, &[2])), (1, 0));
    assert_eq!(shared(reader), 1);
    assert_eq!(share(writer, OTHER, &[92]), 1);
    assert_eq!(shared(reader), 2);
}

pub(super) fn a_shared_block_waits_for_its_place(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let unplaced = |reader: &dyn PrefixIndex| reader.explain(&chain(reader)).get(W).expect("it is known").unplaced;
    writer.set_state(W, WorkerState::Exact);
    assert_eq!((share(writer, W, &[1, 2, 3]), share(writer, W, &[3])), (3, 0));
    assert_eq!((unplaced(reader), reader.state(W)), (3, WorkerState::Approximate));
    assert_eq!(withdraw(writer, W, &[2, 9]), 1);

    store(writer, W, prompt());
    assert_eq!((unplaced(reader), reader.state(W)), (0, WorkerState::Exact));
    assert_eq!(reader.query(&chain(reader)).shared(), 1);
    share(writer, W, &[2]);
    assert_eq!(reader.query(&chain(reader)).shared(), 3);
}

pub(super) fn a_shared_block_outlives_those_who_stored_it(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    store(writer, W, prompt());
    store(writer, OTHER, stored(None, [91], &PROMPT[..2]));
    share(writer, W, &[1, 2]);
    writer.apply(W, 1.0, &[KvEvent::AllBlocksCleared]);
    writer.clear(W);
    writer.remove_worker(W);
    assert_eq!((leading(reader, OTHER), reader.query(&chain(reader)).shared()), (2, 2));
}

pub(super) fn a_lookup_does_not_count_shared_blocks(writer: &mut dyn IndexWriter, reader: &dyn PrefixIndex) {
    let state = BlockStored { spec_kind: SpecKind::Mamba, group_idx: GroupIdx(1), ..prompt() };
    writer.set_state(W, WorkerState::Exact);
    store(writer, W, prompt());
    store(writer, W, state);
    share(writer, W, &[1, 2, 3, 4]);
    writer.apply(W, 1.0, &[removed(Medium::Gpu, [2])]);
    let overlap = reader.query(&chain(reader));
    assert_eq!((overlap.leading(W), overlap.shared()), (1, 4));
    assert_eq!(reader.state(W), WorkerState::Approximate);
}
