//! `ConcurrentRadixTreeCompressed`, the product's default: its own worker loop takes the events, in a thread of its own,
//! whose clock is read; it is asked directly.

use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use dynamo_kv_router::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::{SyncIndexer as _, WorkerTask};
use dynamo_kv_router::protocols::{LocalBlockHash, RouterEvent};
use tokio::sync::oneshot;

use super::super::{Index, Reader};
use crate::stream::{Batch, Stream};
use crate::system::ThreadClock;

pub(crate) struct Crtc {
    index: Arc<ConcurrentRadixTreeCompressed>,
    tasks: flume::Sender<WorkerTask>,
    clock: ThreadClock,
}

impl fmt::Debug for Crtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crtc(..)")
    }
}

impl Index for Crtc {
    type Step = Vec<RouterEvent>;
    type Reader = Asked;

    fn new(_: usize) -> Self {
        let index = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, taken) = flume::unbounded();
        let (say, told) = mpsc::channel();
        let worked_on = Arc::clone(&index);
        thread::spawn(move || {
            _ = say.send(ThreadClock::of_this_thread());
            _ = worked_on.worker(taken, None);
        });
        Self { index, tasks, clock: told.recv().expect("the thread says its clock") }
    }

    fn step(&self, stream: &Stream, batch: &Batch) -> Self::Step {
        super::step(stream, batch)
    }

    fn apply(&mut self, steps: Vec<Self::Step>) -> Duration {
        let began = self.clock.read();
        for event in steps.into_iter().flatten() {
            self.tasks.send(WorkerTask::Event(event)).expect("the thread runs");
        }
        let (done, is_done) = oneshot::channel();
        self.tasks.send(WorkerTask::Flush(done)).expect("the thread runs");
        is_done.blocking_recv().expect("the thread flushes");
        self.clock.read() - began
    }

    fn reader(&self) -> Asked {
        Asked(Arc::clone(&self.index))
    }
}

impl Drop for Crtc {
    fn drop(&mut self) {
        _ = self.tasks.send(WorkerTask::Terminate);
    }
}

pub(crate) struct Asked(Arc<ConcurrentRadixTreeCompressed>);

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
