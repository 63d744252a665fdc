//! A trace, replayed: engines' events as they come, first until the caches are full, then timed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::json;

use crate::contender::prompt;
use crate::index::{AT_ONCE, Index, Reader as _, Who, With, feed, with};
use crate::say;
use crate::stream::engine::Removals;
use crate::stream::{Stream, trace};

/// A trace, replayed.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// A file of the form that Mooncake's traces have
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// How evictions are announced
    #[arg(long)]
    removals: Announced,
    #[arg(long, default_value_t = 64)]
    workers: usize,
    /// Blocks that a worker's cache holds
    #[arg(long, default_value_t = 16_384)]
    capacity: usize,
    /// Requests of the trace that are replayed at most
    #[arg(long, default_value_t = usize::MAX)]
    requests: usize,
    /// How often each index is fed; its best time counts
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Only these indexes
    #[arg(long, value_delimiter = ',')]
    only: Vec<Who>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Announced {
    /// One event for all that a step evicts
    Grouped,
    /// One event for each block
    Single,
}

/// The share of the requests that fills the caches before the clock runs.
const WARM: f64 = 0.4;
/// Every so many requests, one is asked for and its answer compared.
const STRIDE: usize = 64;

pub(crate) fn run(events: &Events) -> Result<()> {
    let (removals, name) = match events.removals {
        Announced::Grouped => (Removals::Grouped, "grouped"),
        Announced::Single => (Removals::Single, "single"),
    };
    let requests = trace::read(&events.trace, events.requests)?;
    let stream = trace::stream(&requests, events.workers, events.capacity, removals);
    let warm = (stream.queries.len() as f64 * WARM) as usize;
    let warm = stream.queries.get(warm).map_or(0, |query| query.after);
    let blocks: usize = stream.batches[warm..].iter().map(|batch| stream.len(batch)).sum();
    let all = [Who::Llmd, Who::Smg, Who::DynamoCrtc, Who::DynamoRadix, Who::DynamoPositional];
    let whos: Vec<_> = all.into_iter().filter(|who| events.only.is_empty() || events.only.contains(who)).collect();

    let progress = say::progress(&format!("events, {name}"), events.turns * whos.len());
    let mut best = vec![Duration::MAX; whos.len()];
    let mut answers: Option<(Who, Vec<Answer>)> = None;
    for _ in 0..events.turns {
        for (&who, best) in whos.iter().zip(&mut best) {
            let (took, said) = with(who, Replay { stream: &stream, warm });
            *best = took.min(*best);
            match &answers {
                Some((first, answers)) if *answers != said => {
                    let line = format!("{} answers otherwise than {} in the replay", who.name(), first.name());
                    return Err(Error::new(ErrorKind::Corrupt, line));
                }
                _ => answers = Some((who, said)),
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    for (who, took) in whos.iter().zip(best) {
        let mblocks = blocks as f64 / took.as_secs_f64() / 1e6;
        say::row(
            &json!({ "part": "events", "removals": name, "who": who.name(), "mblocks_s": mblocks, "blocks": blocks }),
        );
    }
    Ok(())
}

/// Who holds how much of a prompt.
type Answer = Vec<(u32, u32)>;

/// Feeds an index with the whole stream: how long it worked on what comes after the first `warm` batches, and what it
/// answered meanwhile.
#[derive(Debug)]
struct Replay<'a> {
    stream: &'a Stream,
    warm: usize,
}

impl With for Replay<'_> {
    type Answer = (Duration, Vec<Answer>);

    fn with<I: Index>(self) -> Self::Answer {
        let Replay { stream, warm } = self;
        let mut index = I::new(stream.workers);
        let mut reader = index.reader();
        let (mut took, mut answers) = (Duration::ZERO, Vec::new());
        let mut asked = stream.queries.iter().step_by(STRIDE).peekable();
        let mut start = 0;
        while start < stream.batches.len() {
            while let Some(query) = asked.next_if(|query| query.after <= start) {
                answers.push(reader.held(&mut reader.query(&prompt(stream.ids(query)))));
            }
            let limit = if start < warm { warm } else { stream.batches.len() };
            let next = asked.peek().map_or(limit, |query| query.after.max(start + 1));
            let end = (start + AT_ONCE).min(next).min(limit);
            let worked = feed(&mut index, stream, &stream.batches[start..end]);
            if start >= warm {
                took += worked;
            }
            start = end;
        }
        (took, answers)
    }
}
