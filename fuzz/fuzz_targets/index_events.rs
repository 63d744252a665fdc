//! An index that is fed any events: it holds the copies that the model holds, and what it says of a prompt can be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmd_core::WorkerId;
use llmd_core::event::{KvEvent, decode_batch};
use llmd_core::hash::{HashKey, Namespace};
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, PrefixIndex as _};
use llmd_core::testing::ModelIndex;

const W: WorkerId = WorkerId(0);
const MOST_BLOCKS: usize = 64;

fn blocks(event: &KvEvent) -> usize {
    match event {
        KvEvent::BlockRemoved(removed) => removed.block_hashes.len(),
        KvEvent::BlockStored(stored) => stored.block_hashes.len(),
        _ => 0,
    }
}

/// Blocks of the index that the names of an event cover at most.
fn covered(event: &KvEvent, unit: usize) -> usize {
    match event {
        KvEvent::BlockStored(stored) => stored.block_hashes.len() * (stored.block_size as usize / unit),
        _ => 0,
    }
}

fuzz_target!(|payload: &[u8]| {
    let Ok(batch) = decode_batch(payload) else { return };
    // The model takes its time, which grows with the square of what it holds.
    if batch.events.iter().map(blocks).sum::<usize>() > MOST_BLOCKS {
        return;
    }
    let block_size = batch.events.iter().find_map(|event| match event {
        KvEvent::BlockStored(stored) => Some(stored.block_size).filter(|size| (1..=64).contains(size)),
        _ => None,
    });
    let settings = IndexSettings::default().with_key(HashKey::from_bytes([7; 32]));
    let settings = settings.with_block_size(block_size.unwrap_or(16) as usize);
    let (mut writer, reader) = ExactIndex::new(settings);
    let mut model = ModelIndex::new(settings);
    let (applied, truth) = (writer.apply(W, 1.0, &batch.events), model.apply(W, 1.0, &batch.events));
    assert_eq!((applied.stored, applied.removed), (truth.stored, truth.removed), "{batch:#?}");
    assert_eq!((applied.unknown_removals, applied.dropped), (truth.unknown_removals, 0));
    let (mut held, mut truth) = (writer.residents(W), model.residents(W));
    held.sort_unstable();
    truth.sort_unstable();
    assert_eq!(held, truth);

    let covered: usize = batch.events.iter().map(|event| covered(event, settings.block_size)).sum();
    for event in &batch.events {
        let KvEvent::BlockStored(stored) = event else { continue };
        let prompt = reader.hasher().chain(&stored.token_ids, &Namespace::default());
        let overlap = reader.query(&prompt);
        let leading = overlap.leading(W) as usize;
        assert!(leading <= prompt.blocks().len() && leading <= covered && (leading == 0 || !held.is_empty()));
        assert_eq!(overlap.len(), usize::from(leading > 0));
        let explained = reader.explain(&prompt);
        assert_eq!(explained.workers[0].overlap.leading as usize, leading);
    }
    writer.clear(W);
    assert_eq!(writer.residents(W), []);
});
