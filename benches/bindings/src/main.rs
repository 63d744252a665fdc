//! `llmd-bindings`: the same calls in Rust, C and Python, in turns, on the same events and the same prompt.
//!
//! C and Python are processes of their own, which say what a call took when they are asked to make some; the turns are
//! short, so that what else the machine does weighs on all three alike.

mod child;
mod figures;
mod job;
mod rust;
mod scenario;
mod stopwatch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmd_core::Result;

use crate::child::Child;
use crate::figures::Samples;
use crate::job::Job;
use crate::rust::Rust;
use crate::scenario::Scenario;

/// Measures what the C ABI and Python add to a query, a batch of events and a decision. Figures go to standard output, as
/// one JSON object of numbers; progress goes to standard error.
#[derive(Debug, Parser)]
#[command(name = "llmd-bindings", version)]
struct Args {
    /// The program made from bench.c.
    #[arg(long, value_name = "FILE")]
    c: PathBuf,
    /// The Python that runs bench.py; `llmd_py` is in its PYTHONPATH.
    #[arg(long, value_name = "FILE")]
    python: PathBuf,
    /// bench.py itself.
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// How often the three take turns.
    #[arg(long, default_value_t = 60)]
    turns: usize,
    /// How many times C and Python are started anew meanwhile: where a program happens to lie in memory counts too.
    #[arg(long, default_value_t = 6)]
    lives: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            say(std::io::stderr(), &format!("llmd-bindings: {error}{cause}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let (lives, turns) = (args.lives.max(1), args.turns.max(1));
    let scenario = Scenario::write()?;
    let progress = progress(lives * turns.div_ceil(lives) * Job::ALL.len());
    let mut samples = Samples::default();
    for _ in 0..lives {
        let mut rust = Rust::new(&scenario)?;
        let mut c = Child::start(&args.c, &[], scenario.folder())?;
        let mut python = Child::start(&args.python, &[args.script.as_os_str()], scenario.folder())?;
        for turn in 0..turns.div_ceil(lives) {
            for job in Job::ALL {
                let calls = job.calls();
                // Nobody goes first every time.
                let mut took = [0.0; 3];
                for place in 0..3 {
                    let who = (place + turn) % 3;
                    took[who] = match who {
                        0 => rust.time(job, calls)?,
                        1 => c.time(job, calls)?,
                        _ => python.time(job, calls)?,
                    };
                }
                samples.add(job, took);
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();
    say(std::io::stdout(), &format!("{:#}", samples.figures()));
    Ok(())
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("bindings {bar:30} {pos}/{len} turns, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A closed terminal is nothing to fail for.
fn say(mut to: impl std::io::Write, line: &str) {
    _ = writeln!(to, "{line}");
}
