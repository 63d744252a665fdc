//! `llmd-heal`: how long the index takes to be exact again after something broke, and whether it was ever wrong while it
//! claimed to be exact.
//!
//! Simulated engines run as processes of their own, publish over real ZMQ sockets and are asked over HTTP. Whenever the
//! index claims to be exact about one, what it holds and what it answers is noted, and later compared with what the engine
//! itself had said up to the same batch, heard past everything that was broken.

mod cache;
mod checked;
mod clock;
mod follower;
mod http;
mod load;
mod relay;
mod sample;
mod scenario;
mod stage;
mod truth;
mod zmq;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::scenario::{Healed, Scenario};
use crate::stage::Plan;
use crate::truth::Verdict;

/// Breaks things and measures how the index heals. Figures go to standard output, as one JSON object of numbers; progress
/// goes to standard error. Takes about 40 seconds, with `--quick` about 15.
#[derive(Debug, Parser)]
#[command(name = "llmd-heal", version)]
struct Args {
    /// Where `llmd-engine` is; by default beside this program.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// How many engines there are.
    #[arg(long, default_value_t = 3)]
    engines: usize,
    /// Fewer rounds: to see that it runs, not to compare.
    #[arg(long)]
    quick: bool,
    /// Everything random is drawn from this.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

fn main() -> ExitCode {
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start threads").with_source(error))
        .and_then(|runtime| runtime.block_on(run(&Args::parse())));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            say(std::io::stderr(), &format!("llmd-heal: {error}{cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let plan = plan(args)?;
    let progress = progress();
    let mut figures = Map::new();
    let mut all = Verdict::default();
    for scenario in Scenario::ALL {
        progress.set_message(scenario.name());
        let Healed { mut took, verdict } = scenario.run(&plan).await?;
        took.sort_unstable();
        let seconds = |took: Option<&Duration>| took.map_or(Value::Null, |took| json!(took.as_secs_f64()));
        let name = scenario.name();
        figures.insert(format!("index.heal_s.{name}"), seconds(took.last()));
        figures.insert(format!("index.heal_median_s.{name}"), seconds(took.get(took.len() / 2)));
        figures.insert(format!("index.heal_faults.{name}"), json!(took.len()));
        all.add(&verdict);
        progress.inc(1);
    }
    progress.finish_and_clear();
    figures.insert("index.wrong_while_exact".into(), json!(all.wrong_lists + all.wrong_answers));
    figures.insert("index.heal_moments".into(), json!(all.moments));
    figures.insert("index.heal_queries".into(), json!(all.queries));
    figures.insert("index.heal_hits".into(), json!(all.hits));
    figures.insert("index.heal_moments_unknown".into(), json!(all.unknown));
    say(std::io::stdout(), &format!("{:#}", Value::Object(figures)));
    Ok(())
}

fn plan(args: &Args) -> Result<Plan> {
    if args.engines == 0 {
        return Err(Error::new(ErrorKind::Invalid, "--engines 0: expected at least 1"));
    }
    let beside = || {
        let program = std::env::current_exe().ok()?;
        program.parent().map(PathBuf::from)
    };
    let bin_dir = args.bin_dir.clone().or_else(beside).unwrap_or_default();
    let (rounds, losing) = if args.quick { (1, 2) } else { (5, 8) };
    Ok(Plan {
        clock: Clock::start(),
        binary: bin_dir.join("llmd-engine"),
        engines: args.engines,
        rounds,
        losing: Duration::from_secs(losing),
        seed: args.seed,
    })
}

fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("heal {bar:30} {pos}/{len} {msg}");
    let bar = ProgressBar::with_draw_target(Some(Scenario::ALL.len() as u64), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A closed terminal is nothing to fail for.
fn say(mut to: impl std::io::Write, line: &str) {
    _ = writeln!(to, "{line}");
}
