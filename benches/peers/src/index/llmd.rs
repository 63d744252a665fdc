//! llmd: events with their tokens, as an engine sends them, hashed inside; queries as chains of digests.

use std::hint::black_box;
use std::time::Duration;

use llmd_core::event::{BlockRemoved, BlockStored, KvEvent};
use llmd_core::hash::{Chain, HashKey, Namespace};
use llmd_core::index::{
    ExactIndex, ExactReader, ExactWriter, IndexSettings, IndexWriter as _, Overlap, PrefixIndex as _,
};
use llmd_core::{ExternalBlockHash, WorkerId};

use super::{Index, Reader};
use crate::stream::{BLOCK_SIZE, Batch, Event, Stream, tokens};
use crate::system::worked;

#[derive(Debug)]
pub(crate) struct Llmd {
    writer: ExactWriter,
    reader: ExactReader,
}

impl Index for Llmd {
    type Step = (WorkerId, Vec<KvEvent>);
    type Reader = Asked;

    fn new(_: usize) -> Self {
        let settings = IndexSettings::default().with_block_size(BLOCK_SIZE).with_key(HashKey::from_bytes([7; 32]));
        let (writer, reader) = ExactIndex::new(settings);
        Self { writer, reader }
    }

    fn step(&self, stream: &Stream, batch: &Batch) -> Self::Step {
        (WorkerId(batch.worker), stream.events(batch).map(event).collect())
    }

    fn apply(&mut self, steps: Vec<Self::Step>) -> Duration {
        let ((), took) = worked(|| {
            for (worker, events) in &steps {
                black_box(self.writer.apply(*worker, 0.0, events));
            }
        });
        took
    }

    fn reader(&self) -> Asked {
        Asked { reader: self.reader.clone(), overlap: Overlap::default() }
    }
}

fn event(event: Event<'_>) -> KvEvent {
    match event {
        Event::Stored { parent, blocks } => {
            let mut stored = BlockStored::default();
            stored.block_hashes = blocks.iter().map(|block| ExternalBlockHash::from_int(block.name)).collect();
            stored.parent_block_hash = parent.map(ExternalBlockHash::from_int);
            stored.token_ids = blocks.iter().flat_map(|block| tokens(block.id)).collect();
            stored.block_size = BLOCK_SIZE as u32;
            KvEvent::BlockStored(stored)
        }
        Event::Removed { names } => {
            let mut removed = BlockRemoved::default();
            removed.block_hashes = names.iter().copied().map(ExternalBlockHash::from_int).collect();
            KvEvent::BlockRemoved(removed)
        }
    }
}

/// A reader with the buffer that it answers into.
#[derive(Debug)]
pub(crate) struct Asked {
    reader: ExactReader,
    overlap: Overlap,
}

impl Reader for Asked {
    const WAY: &'static str = "query_into";
    type Query = Chain;

    fn query(&self, tokens: &[u32]) -> Chain {
        self.reader.hasher().chain(tokens, &Namespace::default())
    }

    fn ask(&mut self, query: &mut Chain) {
        self.reader.query_into(query, &mut self.overlap);
        black_box(&self.overlap);
    }

    fn held(&mut self, query: &mut Chain) -> Vec<(u32, u32)> {
        self.reader.query_into(query, &mut self.overlap);
        let mut held: Vec<_> = (&self.overlap).into_iter().map(|held| (held.worker.0, held.leading)).collect();
        held.sort_unstable();
        held
    }
}
