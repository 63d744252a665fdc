//! Who holds this prompt? A KV event of a real engine goes into an index; the index answers, and says why.

#![expect(clippy::print_stdout, reason = "an example shows its answers")]

use llmd_core::event::{KvEvent, decode_batch};
use llmd_core::hash::Namespace;
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState};
use llmd_core::{Result, WorkerId};

fn main() -> Result<()> {
    let payload = include_bytes!("../data/block_stored.msgpack");
    let (busy, idle) = (WorkerId(0), WorkerId(1));

    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(32));
    let batch = decode_batch(payload)?;
    for error in &batch.errors {
        println!("left out: {error}");
    }
    writer.apply(busy, batch.timestamp, &batch.events);
    for worker in [busy, idle] {
        writer.set_state(worker, WorkerState::Exact);
    }

    let mut prompt = stored_tokens(&batch.events);
    prompt.extend([7; 40]);
    let chain = reader.hasher().chain(&prompt, &Namespace::default());
    for overlap in &reader.query(&chain) {
        let tokens = chain.hit_tokens(overlap.leading as usize);
        println!("{} holds {} leading blocks: {tokens} of {} tokens", overlap.worker, overlap.leading, prompt.len());
    }
    println!("{}", reader.explain(&chain));
    Ok(())
}

fn stored_tokens(events: &[KvEvent]) -> Vec<u32> {
    let stored = events.iter().filter_map(|event| match event {
        KvEvent::BlockStored(stored) => Some(stored.token_ids.iter().copied()),
        _ => None,
    });
    stored.flatten().collect()
}
