//! `PositionalIndexer`, in strides: its worker's table is kept beside it, as its thread pool does.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use dynamo_kv_router::indexer::SyncIndexer as _;
use dynamo_kv_router::indexer::positional::{LevelIndex, PositionalIndexer, SearchMode};
use dynamo_kv_router::protocols::{LocalBlockHash, RouterEvent, WorkerWithDpRank};
use rustc_hash::FxHashMap;

use super::super::{Index, Reader};
use crate::stream::{Batch, Stream};
use crate::system::worked;

/// Blocks between two probes: its documentation says 32 to 64.
const STRIDE: usize = 64;

pub(crate) struct Positional {
    index: Arc<PositionalIndexer>,
    names: FxHashMap<WorkerWithDpRank, LevelIndex>,
}

impl fmt::Debug for Positional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Positional(..)")
    }
}

impl Index for Positional {
    type Step = Vec<RouterEvent>;
    type Reader = Asked;

    fn new(_: usize) -> Self {
        let index = PositionalIndexer::new_with_mode(STRIDE, SearchMode::Strided);
        Self { index: Arc::new(index), names: FxHashMap::default() }
    }

    fn step(&self, stream: &Stream, batch: &Batch) -> Self::Step {
        super::step(stream, batch)
    }

    fn apply(&mut self, steps: Vec<Self::Step>) -> Duration {
        let ((), took) = worked(|| {
            for event in steps.into_iter().flatten() {
                _ = black_box(self.index.apply_event(&mut self.names, event, None));
            }
        });
        took
    }

    fn reader(&self) -> Asked {
        Asked(Arc::clone(&self.index))
    }
}

pub(crate) struct Asked(Arc<PositionalIndexer>);

impl Reader for Asked {
    const WAY: &'static str = "find_matches";
    type Query = Vec<LocalBlockHash>;

    fn query(&self, tokens: &[u32]) -> Self::Query {
        super::query(tokens)
    }

    fn ask(&mut self, query: &mut Self::Query) {
        black_box(self.0.find_matches(query, false));
    }

    fn held(&mut self, query: &mut Self::Query) -> Vec<(u32, u32)> {
        super::held(&self.0.find_matches(query, false))
    }
}
