//! One reader alone, and beside a writer that never rests.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use clap::Args;
use llmd_core::Result;
use serde_json::json;

use crate::contender::{Contender as _, Hashed};
use crate::index::{Crtc, Index, Llmd, Positional, Reader, Smg, feed};
use crate::say;
use crate::stream::{Stream, grid};

/// One reader alone, and beside a writer.
#[derive(Debug, Args)]
pub(crate) struct Readers {
    /// Blocks that all workers hold together, about
    #[arg(long, default_value_t = 2_000_000)]
    entries: usize,
    /// How often a reader is timed in each way; its best time counts
    #[arg(long, default_value_t = 24)]
    windows: usize,
    /// Queries that are timed at once
    #[arg(long, default_value_t = 10_000)]
    queries: usize,
}

const BLOCKS: usize = 512;
const WORKERS: usize = 64;

pub(crate) fn run(readers: &Readers) -> Result<()> {
    let stream = grid::stream(BLOCKS, WORKERS, readers.entries, 5_000, 7);
    let progress = say::progress("readers", 4);
    let say = |who: &str, (alone, beside): (f64, f64)| {
        progress.inc(1);
        say::row(&json!({
            "part": "readers", "who": who, "alone_us": alone, "beside_us": beside, "ratio": alone / beside,
        }));
    };
    say("llmd", measure::<Llmd>(readers, &stream));
    say("smg", measure::<Smg>(readers, &stream));
    say("dynamo_crtc", measure::<Crtc>(readers, &stream));
    say("dynamo_positional", measure::<Positional>(readers, &stream));
    progress.finish_and_clear();
    Ok(())
}

/// What the writer is told.
const WAIT: u8 = 0;
const WRITE: u8 = 1;
const END: u8 = 2;

/// Microseconds of its own time that a reader takes for a query, alone and beside a writer.
fn measure<I>(readers: &Readers, stream: &Stream) -> (f64, f64)
where
    I: Index + Send,
    I::Reader: Reader + Send,
{
    let mut index = I::new(stream.workers);
    feed(&mut index, stream, &stream.batches);
    let mut reader = Hashed::new("reader", index.reader(), stream);
    let churn = churn(stream);
    let told = AtomicU8::new(WAIT);
    let (mut alone, mut beside) = (f64::MAX, f64::MAX);
    thread::scope(|scope| {
        scope.spawn(|| write(&mut index, &churn, &told));
        for window in 0..readers.windows {
            for (order, best) in [(WAIT, &mut alone), (WRITE, &mut beside)] {
                told.store(order, Ordering::Release);
                let took = reader.ask(window * readers.queries, readers.queries).as_secs_f64();
                *best = best.min(took * 1e6 / readers.queries as f64);
            }
        }
        told.store(END, Ordering::Release);
    });
    (alone, beside)
}

/// Forgets and stores what is in the index already, over and over, until it is told to end.
fn write<I: Index>(index: &mut I, churn: &Stream, told: &AtomicU8) {
    for batches in churn.batches.chunks(2).cycle() {
        while told.load(Ordering::Acquire) == WAIT {
            thread::yield_now();
        }
        if told.load(Ordering::Acquire) == END {
            return;
        }
        feed(index, churn, batches);
    }
}

/// The last chunks of conversations, each removed and stored again.
fn churn(stream: &Stream) -> Stream {
    let mut churn = Stream::new(stream.workers);
    for batch in stream.batches.iter().rev().take(1_000) {
        for event in stream.events(batch) {
            if let crate::stream::Event::Stored { parent, blocks } = event {
                let names: Vec<_> = blocks.iter().rev().map(|block| block.name).collect();
                churn.begin(batch.worker);
                churn.remove(&names);
                churn.begin(batch.worker);
                churn.store(parent, blocks);
            }
        }
    }
    churn
}
