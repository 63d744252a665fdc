//! `llmd-peers`: the prefix index beside those of Dynamo and SMG. Each command measures one thing and says it as JSON, one
//! object a line; `cargo xtask bench index` runs them and makes figures of what they say.

mod chance;
mod contender;
mod index;
mod part;
mod say;
mod stream;
mod system;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use llmd_core::Result;

use crate::part::{cell, events, memory};

/// Measures the prefix index beside those of Dynamo and SMG. What is found goes to standard output, one JSON object a
/// line; progress goes to standard error.
#[derive(Debug, Parser)]
#[command(name = "llmd-peers", version)]
struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    Cell(cell::Cell),
    Events(events::Events),
    Memory(memory::Memory),
}

fn main() -> ExitCode {
    let part = Args::parse().part;
    if !matches!(part, Part::Memory(_)) {
        system::keep_freed_memory();
    }
    match run(&part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("llmd-peers: {error}{cause}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(part: &Part) -> Result<()> {
    match part {
        Part::Cell(cell) => cell::run(cell),
        Part::Events(events) => events::run(events),
        Part::Memory(memory) => memory::run(memory),
    }
}
