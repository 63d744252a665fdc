//! One cell of the grid: the same state in every index, and the same questions in turns.

use clap::Args;
use llmd_core::{Error, ErrorKind, Result};
use serde_json::json;

use crate::contender::{Contender, Hashed, Plain, Prompts};
use crate::index::{Crtc, Found, Index, Llmd, Positional, Radix, Scored, Smg, feed};
use crate::say;
use crate::stream::{Stream, grid};

/// One cell of the grid.
#[derive(Debug, Args)]
pub(crate) struct Cell {
    /// Blocks in a prompt
    #[arg(long)]
    blocks: usize,
    /// Workers in the index
    #[arg(long)]
    workers: usize,
    /// Ask with tokens, and time the hashing too
    #[arg(long)]
    tokens: bool,
    /// Blocks that all workers hold together, about
    #[arg(long, default_value_t = 2_000_000)]
    entries: usize,
    /// How often each index is timed
    #[arg(long, default_value_t = 12)]
    windows: usize,
    /// How long it is timed each time, in milliseconds
    #[arg(long, default_value_t = 25)]
    window_ms: usize,
}

const SEED: u64 = 7;
/// Blocks in all questions together, and how many questions there are at least and at most.
const ASKED_BLOCKS: usize = 12_000_000;
const QUESTIONS: (usize, usize) = (1_500, 20_000);
/// Answers that are compared.
const COMPARED: usize = 3_000;

pub(crate) fn run(cell: &Cell) -> Result<()> {
    let questions = (ASKED_BLOCKS / cell.blocks).clamp(QUESTIONS.0, QUESTIONS.1).min(cell.entries / 100);
    let stream = grid::stream(cell.blocks, cell.workers, cell.entries, questions, SEED);
    let llmd: Llmd = loaded(&stream);
    let smg: Smg = loaded(&stream);
    let (crtc, radix, positional): (Crtc, Radix, Positional) = (loaded(&stream), loaded(&stream), loaded(&stream));
    if cell.tokens {
        let prompts = Prompts::of(&stream);
        let mut contenders: Vec<Box<dyn Contender + '_>> = vec![
            Box::new(Plain::new("llmd", llmd.reader(), &prompts)),
            Box::new(Plain::new("dynamo_crtc", crtc.reader(), &prompts)),
            Box::new(Plain::new("dynamo_radix", radix.reader(), &prompts)),
            Box::new(Plain::new("dynamo_positional", positional.reader(), &prompts)),
            Box::new(Plain::new("smg", smg.asked::<Found>(), &prompts)),
            Box::new(Plain::new("smg", smg.asked::<Scored>(), &prompts)),
        ];
        contest(cell, questions, &mut contenders)
    } else {
        let mut contenders: Vec<Box<dyn Contender>> = vec![
            Box::new(Hashed::new("llmd", llmd.reader(), &stream)),
            Box::new(Hashed::new("dynamo_crtc", crtc.reader(), &stream)),
            Box::new(Hashed::new("dynamo_radix", radix.reader(), &stream)),
            Box::new(Hashed::new("dynamo_positional", positional.reader(), &stream)),
            Box::new(Hashed::new("smg", smg.asked::<Found>(), &stream)),
            Box::new(Hashed::new("smg", smg.asked::<Scored>(), &stream)),
        ];
        contest(cell, questions, &mut contenders)
    }
}

fn loaded<I: Index>(stream: &Stream) -> I {
    let mut index = I::new(stream.workers);
    feed(&mut index, stream, &stream.batches);
    index
}

/// Compares answers, then lets everyone take turns.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] when two indexes answer differently.
fn contest(cell: &Cell, questions: usize, contenders: &mut [Box<dyn Contender + '_>]) -> Result<()> {
    compare(questions.min(COMPARED), contenders)?;
    let windows: Vec<_> = contenders.iter_mut().map(|contender| window(cell, &mut **contender)).collect();
    let mut best = vec![(f64::MAX, f64::MAX); contenders.len()];
    let (blocks, workers) = (cell.blocks, cell.workers);
    let progress = say::progress(&format!("{blocks} blocks x {workers}"), cell.windows);
    let mut first = 0;
    for _ in 0..cell.windows {
        for ((contender, &count), best) in contenders.iter_mut().zip(&windows).zip(&mut best) {
            let mean = contender.ask(first, count).as_secs_f64() * 1e6 / count as f64;
            let mut each = contender.ask_each(first + count, count);
            each.sort_unstable();
            let p99 = each[(each.len() * 99 / 100).min(each.len() - 1)].as_secs_f64() * 1e6;
            *best = (best.0.min(mean), best.1.min(p99));
            first += 2 * count;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    for (contender, (mean, p99)) in contenders.iter().zip(best) {
        let (who, way) = contender.name();
        let part = if cell.tokens { "e2e" } else { "grid" };
        say::row(&json!({
            "part": part, "blocks": blocks, "workers": workers, "who": who, "way": way, "mean_us": mean, "p99_us": p99,
        }));
    }
    Ok(())
}

fn compare(questions: usize, contenders: &mut [Box<dyn Contender + '_>]) -> Result<()> {
    for number in 0..questions {
        let mut answers = contenders.iter_mut().map(|contender| (contender.name(), contender.held(number)));
        let Some((_, first)) = answers.next() else { return Ok(()) };
        if let Some(((who, way), other)) = answers.find(|(_, other)| *other != first) {
            let (ours, theirs) = (first.len(), other.len());
            let line =
                format!("question {number}: {who} ({way}) names {theirs} workers, llmd {ours}, or others, or deeper");
            return Err(Error::new(ErrorKind::Corrupt, line));
        }
    }
    Ok(())
}

/// How many questions fill a window.
fn window(cell: &Cell, contender: &mut dyn Contender) -> usize {
    let tried = 64;
    let each = contender.ask(0, tried).as_secs_f64() / tried as f64;
    ((cell.window_ms as f64 / 1e3 / each) as usize).clamp(200, 100_000)
}
