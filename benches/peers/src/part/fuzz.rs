//! Caches that forget where it hurts: how many answers are wrong.

use clap::Args;
use llmd_core::Result;
use serde_json::json;

use crate::contender::prompt;
use crate::index::{Index, Reader as _, Who, With, feed, with};
use crate::say;
use crate::stream::adversarial::{self, Mode, Truth};
use crate::stream::{Stream, chain};

/// Caches that forget where it hurts.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Queries in each mode
    #[arg(long, default_value_t = 60_000)]
    queries: usize,
    #[arg(long, default_value_t = 8)]
    workers: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const WHOS: [Who; 5] = [Who::Llmd, Who::DynamoCrtc, Who::DynamoPositional, Who::DynamoRadix, Who::Smg];

pub(crate) fn run(fuzz: &Fuzz) -> Result<()> {
    let progress = say::progress("fuzz", Mode::ALL.len() * WHOS.len());
    for mode in Mode::ALL {
        let stream = adversarial::stream(mode, fuzz.queries, fuzz.workers, fuzz.seed);
        let filtered = stream.without_copies();
        for who in WHOS {
            // llmd counts copies itself; for the peers, their products do.
            let fed = if who == Who::Llmd { &stream } else { &filtered };
            let wrong = with(who, Compare { truth: &stream, fed });
            progress.inc(1);
            say::row(&json!({
                "part": "fuzz", "mode": mode.name(), "who": who.name(), "queries": stream.queries.len(),
                "wrong": wrong.queries, "over": wrong.over, "under": wrong.under,
            }));
        }
    }
    progress.finish_and_clear();
    Ok(())
}

/// Feeds an index and compares each answer with what is true.
#[derive(Debug)]
struct Compare<'a> {
    truth: &'a Stream,
    fed: &'a Stream,
}

/// What was wrong: queries, and workers of which too much or too little was said.
#[derive(Debug, Default)]
struct Wrong {
    queries: usize,
    over: usize,
    under: usize,
}

impl With for Compare<'_> {
    type Answer = Wrong;

    fn with<I: Index>(self) -> Wrong {
        let workers = self.truth.workers;
        let (mut index, mut truth) = (I::new(workers), Truth::new(workers));
        let mut reader = index.reader();
        let mut wrong = Wrong::default();
        for (number, query) in self.truth.queries.iter().enumerate() {
            let ids = self.truth.ids(query);
            let told = dense(workers, &reader.held(&mut reader.query(&prompt(ids))));
            let is = dense(workers, &truth.leading(&chain(ids)));
            wrong.queries += usize::from(told != is);
            wrong.over += told.iter().zip(&is).filter(|(told, is)| told > is).count();
            wrong.under += told.iter().zip(&is).filter(|(told, is)| told < is).count();
            feed(&mut index, self.fed, &self.fed.batches[number..=number]);
            let batch = &self.truth.batches[number];
            self.truth.events(batch).for_each(|event| truth.apply(batch.worker, event));
        }
        wrong
    }
}

fn dense(workers: usize, held: &[(u32, u32)]) -> Vec<u32> {
    let mut dense = vec![0; workers];
    held.iter().for_each(|&(worker, leading)| dense[worker as usize] = leading);
    dense
}
