//! `llmd-chaos`: engines that lend and fetch blocks while they are killed, paused, cut off and lied to.
//!
//! Each engine is a process of its own with an agent of `llmd-kvxfer`. Every byte of every block says who wrote it and when, so that
//! whatever arrives is known to be right, or is not.

mod chance;
mod clock;
mod conductor;
mod content;
mod engine;
mod forge;
mod fuzz;
mod lender;
mod measure;
mod message;
mod network;
mod pools;
mod process;
mod reader;
mod tally;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::conductor::{Conductor, PEERS, Plan};
use crate::network::Network;
use crate::process::Place;

/// Breaks whatever can be broken between engines that fetch from each other, and looks at every byte. Figures go to standard
/// output, as one JSON object; progress and what was wrong go to standard error.
#[derive(Debug, Parser)]
#[command(name = "llmd-chaos", version)]
struct Args {
    /// For how long things break.
    #[arg(long, default_value_t = 100)]
    seconds: u64,
    /// Until how many operations have ended at least.
    #[arg(long, default_value_t = 10_000)]
    transfers: u64,
    /// Everything random is drawn from this.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// By which transports blocks are moved.
    #[arg(long, value_delimiter = ',', default_values_t = engine::TRANSPORTS.map(str::to_owned))]
    transports: Vec<String>,
    /// Be an engine: what it is told at its start.
    #[arg(long, hide = true)]
    engine: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.engine {
        Some(birth) => engine::run(birth),
        None => conduct(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            say(std::io::stderr(), &format!("llmd-chaos: {error}{cause}"));
            ExitCode::FAILURE
        }
    }
}

fn conduct(args: &Args) -> Result<()> {
    let folder = tempfile::tempdir()
        .map_err(|cause| Error::new(ErrorKind::Unavailable, "a folder for sockets").with_source(cause))?;
    let network = network(&args.transports);
    let plan = Plan {
        seed: args.seed,
        time: Duration::from_secs(args.seconds),
        transfers: args.transfers,
        folder: folder.path().to_owned(),
        transports: args.transports.clone(),
        places: places(network.as_ref()),
        host: network.as_ref().map_or("127.0.0.1", Network::here).to_owned(),
    };
    let progress = progress(args.seconds);
    let mut conductor = Conductor::new(&plan)?;
    conductor.run(&progress)?;
    progress.finish_and_clear();
    for remark in &conductor.tally.remarks {
        say(std::io::stderr(), &format!("llmd-chaos: {remark}"));
    }
    let places = plan.places.iter().enumerate().filter(|(_, place)| **place != Place::Here);
    let apart: Vec<_> = places.map(|(slot, place)| format!("engine {slot} {}", said(place))).collect();
    say(std::io::stderr(), &format!("llmd-chaos: seed {}; {}", args.seed, apart.join(", ")));
    if !conductor.tally.is_clean() {
        say(std::io::stderr(), &format!("llmd-chaos: the same again: --seed {} --seconds {}", args.seed, args.seconds));
    }
    let figures = conductor.tally.figures(args.seed, conductor.seconds());
    say(std::io::stdout(), &format!("{:#}", Value::Object(figures)));
    Ok(())
}

fn said(place: &Place) -> String {
    match place {
        Place::Here => "here".into(),
        Place::Apart => "in PID and IPC namespaces of its own".into(),
        Place::Network(name) => format!("in the network namespace {name}"),
    }
}

/// Those that are in network namespaces of their own, when there is a transport that leads there.
const REMOTE: [usize; 2] = [2, 3];

/// A network for transports that reach other machines, where this one allows it.
fn network(transports: &[String]) -> Option<Network> {
    if !transports.iter().any(|transport| transport == "tcp") {
        return None;
    }
    let network = Network::new(&REMOTE);
    network
        .inspect_err(|why| {
            say(std::io::stderr(), &format!("llmd-chaos: no network namespaces can be made here: {why}"));
        })
        .ok()
}

/// Where engines run: one of them in namespaces of its own, where the machine allows it, and those that are remote.
fn places(network: Option<&Network>) -> Vec<Place> {
    let mut places = vec![Place::Here; PEERS];
    let probe =
        std::process::Command::new("unshare").args(["--pid", "--ipc", "--fork", "--kill-child", "true"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        places[1] = Place::Apart;
    } else {
        say(std::io::stderr(), "llmd-chaos: no PID and IPC namespaces can be made here: all engines share them");
    }
    let namespaces = network.into_iter().flat_map(Network::namespaces);
    for (slot, name) in REMOTE.into_iter().zip(namespaces) {
        places[slot] = Place::Network(name.clone());
    }
    places
}

fn progress(seconds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("chaos {bar:30} {pos}/{len} s {msg}");
    let bar = ProgressBar::with_draw_target(Some(seconds), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A closed terminal is nothing to fail for.
fn say(mut to: impl std::io::Write, line: &str) {
    _ = writeln!(to, "{line}");
}
