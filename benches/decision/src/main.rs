//! `llmd-decision`: how long a decision of llm-d's default profile takes, with exact prefixes.
//!
//! A decision hashes the prompt, asks the index, scores every endpoint, picks one and reserves a place there. Prompts are
//! fresh, lie in memory as a tokenizer leaves them, and begin as prompts do that some of the endpoints hold.

mod contention;
mod counting;
mod latency;
mod scenario;
mod stopwatch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use crate::contention::Contention;
use crate::latency::Latency;
use crate::scenario::Scenario;

/// Measures decisions. Figures go to standard output, as one JSON object of numbers; progress goes to standard error.
/// Takes about 40 seconds, with `--quick` about five.
#[derive(Debug, Parser)]
#[command(name = "llmd-decision", version)]
struct Args {
    /// Fewer windows: to see that it runs, not to compare.
    #[arg(long)]
    quick: bool,
    /// Decide only in the fleet of this name, such as 1000x1k, and say nothing: for whoever looks with a profiler.
    #[arg(long, value_name = "CELL")]
    profile: Option<String>,
}

/// A fleet and its prompts.
struct Cell {
    name: &'static str,
    endpoints: u32,
    tokens: usize,
    /// Decisions in a window.
    decisions: usize,
}

/// The least and the most endpoints with short prompts: what lies between them is what an endpoint costs.
const FEW: usize = 0;
const MANY: usize = 2;
/// The one that figures without a cell in their name are of.
const NAMED: usize = 3;

const CELLS: [Cell; 5] = [
    Cell { name: "10x1k", endpoints: 10, tokens: 1024, decisions: 4000 },
    Cell { name: "100x1k", endpoints: 100, tokens: 1024, decisions: 2000 },
    Cell { name: "1000x1k", endpoints: 1000, tokens: 1024, decisions: 500 },
    Cell { name: "100x100k", endpoints: 100, tokens: 100 * 1024, decisions: 500 },
    Cell { name: "1000x100k", endpoints: 1000, tokens: 100 * 1024, decisions: 500 },
];

/// Those that two threads decide.
const CONTENDED: [usize; 2] = [1, NAMED];

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            say(std::io::stderr(), &format!("llmd-decision: {error}{cause}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(name) = &args.profile {
        return profile(name);
    }
    let (windows, threads_for) = if args.quick { (5, 50) } else { (40, 100) };
    let progress = progress(CELLS.len() + windows);
    let mut latencies = Vec::new();
    for cell in &CELLS {
        latencies.push(Latency::of(Scenario::new(cell.endpoints, cell.tokens)?));
        progress.inc(1);
    }
    let mut contended = Vec::new();
    for cell in CONTENDED {
        contended.push((cell, Scenario::new(CELLS[cell].endpoints, CELLS[cell].tokens)?, Contention::default()));
    }
    for _ in 0..windows {
        for (latency, cell) in latencies.iter_mut().zip(&CELLS) {
            latency.window(cell.decisions)?;
        }
        for (cell, another, contention) in &mut contended {
            contention.window(latencies[*cell].scenario(), another, Duration::from_millis(threads_for))?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    say(std::io::stdout(), &format!("{:#}", Value::Object(figures(&latencies, &contended))));
    Ok(())
}

/// Decides for some seconds.
fn profile(name: &str) -> Result<()> {
    let Some(cell) = CELLS.iter().find(|cell| cell.name == name) else {
        let names = CELLS.map(|cell| cell.name).join(", ");
        return Err(Error::new(ErrorKind::Invalid, format!("--profile {name}: expected one of {names}")));
    };
    let mut latency = Latency::of(Scenario::new(cell.endpoints, cell.tokens)?);
    (0..100).try_for_each(|_| latency.window(cell.decisions))
}

fn figures(latencies: &[Latency], contended: &[(usize, Scenario, Contention)]) -> Map<String, Value> {
    let mut figures = Map::new();
    let mut put = |name: String, value: f64| drop(figures.insert(name, json!((value * 1000.0).round() / 1000.0)));
    for (latency, cell) in latencies.iter().zip(&CELLS) {
        put(format!("decision_us.p50.{}", cell.name), latency.p50_us());
        put(format!("decision_us.p99.{}", cell.name), latency.p99_us());
        put(format!("allocations_per_decision.{}", cell.name), latency.allocations());
    }
    let (few, many) = (&CELLS[FEW], &CELLS[MANY]);
    let more_us = latencies[MANY].p50_us() - latencies[FEW].p50_us();
    put("decision_ns_per_endpoint".into(), more_us * 1e3 / f64::from(many.endpoints - few.endpoints));
    put("decisions_interrupted".into(), latencies.iter().map(Latency::interrupted).sum::<usize>() as f64);
    put("allocations_per_decision".into(), latencies[NAMED].allocations());
    for (cell, _, contention) in contended {
        put(format!("decisions_per_s.{}", CELLS[*cell].name), contention.alone());
        put(format!("concurrent_decisions_ratio.{}", CELLS[*cell].name), contention.ratio());
        put(format!("concurrent_decisions_limit.{}", CELLS[*cell].name), contention.limit());
        if *cell == NAMED {
            put("concurrent_decisions_ratio".into(), contention.ratio());
        }
    }
    figures
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("decision {bar:30} {pos}/{len}, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A closed terminal is nothing to fail for.
fn say(mut to: impl std::io::Write, line: &str) {
    _ = writeln!(to, "{line}");
}
