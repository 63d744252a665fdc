//! The exact index: a query, and what events do to it.

use std::hint::black_box;

use llmd_core::event::{BlockRemoved, KvEvent};
use llmd_core::hash::{HashKey, Namespace};
use llmd_core::index::{
    ExactIndex, ExactReader, ExactWriter, IndexSettings, IndexWriter as _, Overlap, PrefixIndex as _,
};
use llmd_core::{ExternalBlockHash, WorkerId};

use crate::prompt::{BLOCK_SIZE, names, stored, tokens};
use crate::{TIMES, counted};

const WORKERS: u32 = 64;
const BLOCKS: usize = 512;
/// Blocks that each worker holds for others.
const OTHER_BLOCKS: usize = 512;

/// An index in which each worker holds a prompt of its own.
fn fleet() -> (ExactWriter, ExactReader) {
    let settings = IndexSettings::default().with_block_size(BLOCK_SIZE).with_key(HashKey::from_bytes([7; 32]));
    let (mut writer, reader) = ExactIndex::new(settings);
    for worker in 0..WORKERS {
        let seed = 1000 + u64::from(worker);
        writer.apply(WorkerId(worker), 0.0, &[stored(seed, &tokens(seed, OTHER_BLOCKS * BLOCK_SIZE))]);
    }
    (writer, reader)
}

/// Who holds a prompt of 512 blocks, of which worker n of 64 holds n + 1 sixty-fourths.
pub(crate) fn query() {
    let (mut writer, reader) = fleet();
    let prompt = tokens(3, BLOCKS * BLOCK_SIZE);
    for worker in 0..WORKERS {
        let held = (worker as usize + 1) * BLOCKS / WORKERS as usize * BLOCK_SIZE;
        writer.apply(WorkerId(worker), 0.0, &[stored(3, &prompt[..held])]);
    }
    let (chain, mut overlap) = (reader.hasher().chain(&prompt, &Namespace::default()), Overlap::default());
    reader.query_into(&chain, &mut overlap);
    assert_eq!(overlap.leading(WorkerId(WORKERS - 1)), BLOCKS as u32);
    for _ in 0..TIMES {
        counted(&mut || reader.query_into(black_box(&chain), &mut overlap));
    }
    black_box(overlap);
}

/// A worker says that it has 512 blocks that nobody has.
pub(crate) fn store_new() {
    let (mut writer, _reader) = fleet();
    for seed in (1..).take(TIMES) {
        let event = [stored(seed, &tokens(seed, BLOCKS * BLOCK_SIZE))];
        counted(&mut || _ = black_box(writer.apply(WorkerId(seed as u32), 0.0, black_box(&event))));
    }
}

/// A worker says that it has 512 blocks that another has.
pub(crate) fn store_shared() {
    let (mut writer, _reader) = fleet();
    let event = [stored(3, &tokens(3, BLOCKS * BLOCK_SIZE))];
    writer.apply(WorkerId(0), 0.0, &event);
    for worker in (1..).take(TIMES) {
        counted(&mut || _ = black_box(writer.apply(WorkerId(worker), 0.0, black_box(&event))));
    }
}

/// A worker says of 512 blocks, from the last on, that each is gone.
pub(crate) fn remove_single() {
    let (mut writer, _reader) = fleet();
    for seed in (1..).take(TIMES) {
        let worker = WorkerId(seed as u32);
        writer.apply(worker, 0.0, &[stored(seed, &tokens(seed, BLOCKS * BLOCK_SIZE))]);
        let mut events: Vec<_> = names(seed, BLOCKS).map(removed).collect();
        events.reverse();
        counted(&mut || _ = black_box(writer.apply(worker, 0.0, black_box(&events))));
    }
}

fn removed(name: u64) -> KvEvent {
    let mut removed = BlockRemoved::default();
    removed.block_hashes.push(ExternalBlockHash::from_int(name));
    KvEvent::BlockRemoved(removed)
}
