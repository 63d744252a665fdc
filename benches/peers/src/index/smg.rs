//! SMG's `ChainIndex`, below its lanes: events with content hashes, a name map for each worker, two ways of asking.

use std::fmt;
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use kv_index::{ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock, compute_request_content_hashes};

use super::{Index, Reader};
use crate::stream::{BLOCK_SIZE, Batch, Event, Stream};
use crate::system::worked;

pub(crate) struct Smg {
    index: Arc<ChainIndex>,
    names: Vec<ChainBlockMap>,
}

impl fmt::Debug for Smg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smg").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) enum Said {
    Removed(Vec<SequenceHash>),
    Stored(Option<SequenceHash>, Vec<StoredBlock>),
}

impl Index for Smg {
    type Step = (u32, Vec<Said>);
    type Reader = Asked<Scored>;

    fn new(workers: usize) -> Self {
        let index = ChainIndex::with_max_workers(workers.max(64));
        for worker in 0..workers {
            let id = index.intern_worker(&format!("worker-{worker}")).expect("as many were asked for");
            assert_eq!(id as usize, worker, "workers are numbered in order");
        }
        Self { index: Arc::new(index), names: (0..workers).map(|_| ChainBlockMap::new()).collect() }
    }

    fn step(&self, stream: &Stream, batch: &Batch) -> Self::Step {
        (batch.worker, stream.events(batch).map(said).collect())
    }

    fn apply(&mut self, steps: Vec<Self::Step>) -> Duration {
        let ((), took) = worked(|| {
            for (worker, step) in &steps {
                let names = &mut self.names[*worker as usize];
                for said in step {
                    match said {
                        Said::Removed(removed) => self.index.apply_removed(*worker, removed, names),
                        Said::Stored(parent, blocks) => {
                            // What cannot be placed is dropped by the index, as its gateway lets it.
                            _ = black_box(self.index.apply_stored(*worker, blocks, *parent, names));
                        }
                    }
                }
            }
        });
        took
    }

    fn reader(&self) -> Self::Reader {
        self.asked()
    }
}

impl Smg {
    /// A reader that asks in this way.
    pub(crate) fn asked<W>(&self) -> Asked<W> {
        Asked { index: Arc::clone(&self.index), scores: vec![0; self.names.len()], way: PhantomData }
    }
}

fn said(event: Event<'_>) -> Said {
    match event {
        Event::Removed { names } => Said::Removed(names.iter().copied().map(SequenceHash).collect()),
        Event::Stored { parent, blocks } => {
            let stored = blocks.iter().map(|block| StoredBlock {
                seq_hash: SequenceHash(block.name),
                content_hash: ContentHash(block.content),
            });
            Said::Stored(parent.map(SequenceHash), stored.collect())
        }
    }
}

/// `find_matches`: a map from worker to score.
#[derive(Debug)]
pub(crate) struct Found;

/// `score_into`: what is found is written into an array by worker, which is kept.
#[derive(Debug)]
pub(crate) struct Scored;

pub(crate) struct Asked<W> {
    index: Arc<ChainIndex>,
    scores: Vec<u32>,
    way: PhantomData<fn() -> W>,
}

impl Reader for Asked<Found> {
    const WAY: &'static str = "find_matches";
    type Query = Vec<ContentHash>;

    fn query(&self, tokens: &[u32]) -> Self::Query {
        compute_request_content_hashes(tokens, BLOCK_SIZE)
    }

    fn ask(&mut self, query: &mut Self::Query) {
        black_box(self.index.find_matches(query, false));
    }

    fn held(&mut self, query: &mut Self::Query) -> Vec<(u32, u32)> {
        let mut held: Vec<_> = self.index.find_matches(query, false).scores.into_iter().collect();
        held.sort_unstable();
        held
    }
}

impl Reader for Asked<Scored> {
    const WAY: &'static str = "score_into";
    type Query = Vec<ContentHash>;

    fn query(&self, tokens: &[u32]) -> Self::Query {
        compute_request_content_hashes(tokens, BLOCK_SIZE)
    }

    fn ask(&mut self, query: &mut Self::Query) {
        self.scores.fill(0);
        let scores = &mut self.scores;
        self.index.score_into(query, |content| content.0, false, |worker, score| scores[worker as usize] = score);
        black_box(&self.scores);
    }

    fn held(&mut self, query: &mut Self::Query) -> Vec<(u32, u32)> {
        self.ask(query);
        let scores = (0..).zip(self.scores.iter().copied());
        scores.filter(|&(_, score)| score > 0).collect()
    }
}
