//! What engines say and what is asked of an index, in an order: every index is given the same.

pub(crate) mod adversarial;
pub(crate) mod engine;
pub(crate) mod flat;
pub(crate) mod grid;
pub(crate) mod trace;

use std::collections::HashMap;
use std::ops::Range;

use kv_index::{ContentHash, SequenceHash, chain_prefix_hash, compute_content_hash};

use crate::chance::mix;

/// Tokens per block.
pub(crate) const BLOCK_SIZE: usize = 16;

/// Blocks in one event at most: what an engine prefills in one step.
const CHUNK: usize = 512;

/// The tokens of the block that is known as `id`: no two blocks have the same.
pub(crate) fn tokens(id: u64) -> [u32; BLOCK_SIZE] {
    std::array::from_fn(|place| {
        let word = mix(id.wrapping_add((place as u64 / 2) << 32));
        // The first two are the id itself, so that blocks differ for certain.
        let word = if place < 2 { id } else { word };
        if place % 2 == 0 { word as u32 } else { (word >> 32) as u32 }
    })
}

/// The hash of a block's tokens, as Dynamo and SMG alike compute it: XXH3 with their seed.
pub(crate) fn content(id: u64) -> u64 {
    compute_content_hash(&tokens(id)).0
}

/// One block of an event. Engines name a block by the chain of content hashes, which Dynamo's positional index needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) id: u64,
    pub(crate) content: u64,
    pub(crate) name: u64,
}

/// The blocks of a prompt, by their ids.
pub(crate) fn chain(ids: &[u64]) -> Vec<Block> {
    let mut before: Option<u64> = None;
    let block = |&id| {
        let content = content(id);
        let name = before.map_or(content, |before| chain_prefix_hash(SequenceHash(before), ContentHash(content)).0);
        before = Some(name);
        Block { id, content, name }
    };
    ids.iter().map(block).collect()
}

/// One thing that an engine says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event<'a> {
    /// One copy of each of these blocks is there, behind the block that is named `parent`.
    Stored { parent: Option<u64>, blocks: &'a [Block] },
    /// One copy of each of these is gone.
    Removed { names: &'a [u64] },
}

#[derive(Clone, Debug)]
enum Kept {
    Stored { parent: Option<u64>, blocks: Range<usize> },
    Removed { names: Range<usize> },
}

/// What one engine says in one step.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) worker: u32,
    events: Range<usize>,
}

/// A prompt that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    ids: Range<usize>,
    /// How many batches were applied before.
    pub(crate) after: usize,
}

/// Batches and queries, in an order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) workers: usize,
    pub(crate) batches: Vec<Batch>,
    pub(crate) queries: Vec<Query>,
    events: Vec<Kept>,
    blocks: Vec<Block>,
    names: Vec<u64>,
    ids: Vec<u64>,
}

impl Stream {
    pub(crate) fn new(workers: usize) -> Self {
        Self { workers, ..Self::default() }
    }

    /// Begins a batch of `worker`; events that follow belong to it.
    pub(crate) fn begin(&mut self, worker: u32) {
        self.batches.push(Batch { worker, events: self.events.len()..self.events.len() });
    }

    /// Adds an event to the batch that was begun last; of no block, there is none.
    pub(crate) fn store(&mut self, parent: Option<u64>, blocks: &[Block]) {
        let start = self.blocks.len();
        self.blocks.extend_from_slice(blocks);
        self.push(blocks.len(), Kept::Stored { parent, blocks: start..self.blocks.len() });
    }

    /// Adds an event to the batch that was begun last; of no block, there is none.
    pub(crate) fn remove(&mut self, names: &[u64]) {
        let start = self.names.len();
        self.names.extend_from_slice(names);
        self.push(names.len(), Kept::Removed { names: start..self.names.len() });
    }

    fn push(&mut self, blocks: usize, event: Kept) {
        if blocks > 0 {
            self.events.push(event);
            self.batches.last_mut().expect("a batch was begun").events.end = self.events.len();
        }
    }

    /// `worker` prefills `blocks` behind `parent`, a step for each chunk.
    pub(crate) fn prefill(&mut self, worker: u32, mut parent: Option<u64>, blocks: &[Block]) {
        for chunk in blocks.chunks(CHUNK) {
            self.begin(worker);
            self.store(parent, chunk);
            parent = chunk.last().map(|block| block.name);
        }
    }

    /// Asks for a prompt at this place in the order.
    pub(crate) fn ask(&mut self, ids: &[u64]) {
        let start = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.queries.push(Query { ids: start..self.ids.len(), after: self.batches.len() });
    }

    pub(crate) fn ids(&self, query: &Query) -> &[u64] {
        &self.ids[query.ids.clone()]
    }

    pub(crate) fn events(&self, batch: &Batch) -> impl Iterator<Item = Event<'_>> {
        self.events[batch.events.clone()].iter().map(|event| match event {
            Kept::Stored { parent, blocks } => Event::Stored { parent: *parent, blocks: &self.blocks[blocks.clone()] },
            Kept::Removed { names } => Event::Removed { names: &self.names[names.clone()] },
        })
    }

    /// Blocks that the events of `batch` name.
    pub(crate) fn len(&self, batch: &Batch) -> usize {
        let len = |event| match event {
            Event::Stored { blocks, .. } => blocks.len(),
            Event::Removed { names } => names.len(),
        };
        self.events(batch).map(len).sum()
    }

    /// The same, as it reaches an index that knows no copies: a removal only when the last copy is gone. Dynamo's
    /// publisher and SMG's gateway count for their indexes.
    pub(crate) fn without_copies(&self) -> Self {
        let mut copies = Copies::default();
        let mut stream = Self { queries: self.queries.clone(), ids: self.ids.clone(), ..Self::new(self.workers) };
        for batch in &self.batches {
            stream.begin(batch.worker);
            for event in self.events(batch) {
                match event {
                    Event::Stored { parent, blocks } => {
                        blocks.iter().for_each(|block| copies.add((batch.worker, block.name)));
                        stream.store(parent, blocks);
                    }
                    Event::Removed { names } => {
                        let gone: Vec<_> =
                            names.iter().copied().filter(|&name| copies.take((batch.worker, name))).collect();
                        stream.remove(&gone);
                    }
                }
            }
        }
        stream
    }
}

/// Copies, counted.
#[derive(Debug)]
pub(crate) struct Copies<K = (u32, u64)>(HashMap<K, u32>);

impl<K> Default for Copies<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + std::hash::Hash> Copies<K> {
    pub(crate) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Takes a copy away; says whether none is left. Of what was never there, none is left.
    pub(crate) fn take(&mut self, key: K) -> bool {
        match self.0.get_mut(&key) {
            Some(copies) if *copies > 1 => {
                *copies -= 1;
                false
            }
            _ => {
                self.0.remove(&key);
                true
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use dynamo_kv_router::protocols::{BlockHashOptions, compute_block_hash_for_seq, compute_seq_hash_for_block};

    use super::*;

    #[test]
    fn both_peers_hash_tokens_as_the_stream_does() {
        let blocks = chain(&[3, 1, 4, 1]);
        let tokens: Vec<u32> = blocks.iter().flat_map(|block| tokens(block.id)).collect();
        let contents: Vec<_> = blocks.iter().map(|block| block.content).collect();

        let dynamo = compute_block_hash_for_seq(&tokens, BLOCK_SIZE as u32, BlockHashOptions::default());
        assert_eq!(dynamo.iter().map(|hash| hash.0).collect::<Vec<_>>(), contents);
        let smg = kv_index::compute_request_content_hashes(&tokens, BLOCK_SIZE);
        assert_eq!(smg.iter().map(|hash| hash.0).collect::<Vec<_>>(), contents);
        assert_eq!(compute_seq_hash_for_block(&dynamo), blocks.iter().map(|block| block.name).collect::<Vec<_>>());
    }

    #[test]
    fn a_removal_reaches_a_peer_with_the_last_copy() {
        let mut stream = Stream::new(1);
        let blocks = chain(&[1, 2]);
        let names = [blocks[0].name, blocks[1].name];
        stream.prefill(0, None, &blocks);
        stream.prefill(0, None, &blocks[..1]);
        for _ in 0..2 {
            stream.begin(0);
            stream.remove(&names);
        }

        let filtered = stream.without_copies();

        let removed = |batch: usize| filtered.events(&filtered.batches[batch]).collect::<Vec<_>>();
        assert_eq!(removed(2), [Event::Removed { names: &names[1..] }]);
        assert_eq!(removed(3), [Event::Removed { names: &names }]);
    }
}
