//! Dynamo's three indexes: events with content hashes, taken by value; queries as content hashes.

mod crtc;
mod positional;
mod radix;

use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent, compute_block_hash_for_seq,
};

pub(crate) use crtc::Crtc;
pub(crate) use positional::Positional;
pub(crate) use radix::Radix;

use crate::stream::{BLOCK_SIZE, Batch, Event, Stream};

fn step(stream: &Stream, batch: &Batch) -> Vec<RouterEvent> {
    stream.events(batch).map(|event| said(batch.worker, event)).collect()
}

fn said(worker: u32, event: Event<'_>) -> RouterEvent {
    let data = match event {
        Event::Removed { names } => {
            let block_hashes = names.iter().copied().map(ExternalSequenceBlockHash).collect();
            KvCacheEventData::Removed(KvCacheRemoveData { block_hashes })
        }
        Event::Stored { parent, blocks } => {
            let block = |block: &crate::stream::Block| KvCacheStoredBlockData {
                block_hash: ExternalSequenceBlockHash(block.name),
                tokens_hash: LocalBlockHash(block.content),
                mm_extra_info: None,
            };
            KvCacheEventData::Stored(KvCacheStoreData {
                parent_hash: parent.map(ExternalSequenceBlockHash),
                start_position: None,
                blocks: blocks.iter().map(block).collect(),
            })
        }
    };
    RouterEvent::new(worker.into(), KvCacheEvent { event_id: 0, data, dp_rank: 0 })
}

fn query(tokens: &[u32]) -> Vec<LocalBlockHash> {
    compute_block_hash_for_seq(tokens, BLOCK_SIZE as u32, BlockHashOptions::default())
}

fn held(scores: &OverlapScores) -> Vec<(u32, u32)> {
    let worker = |id| u32::try_from(id).expect("it is one of ours");
    let mut held: Vec<_> = scores.scores.iter().map(|(of, &score)| (worker(of.worker_id), score)).collect();
    held.sort_unstable();
    held
}
