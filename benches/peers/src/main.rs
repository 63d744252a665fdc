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

use crate::part::{cell, events, fanout, fuzz, growth, hash, memory, readers, truth};

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
    Fanout(fanout::Fanout),
    Fuzz(fuzz::Fuzz),
    Growth(growth::Growth),
    Hash(hash::Hash),
    Memory(memory::Memory),
    Readers(readers::Readers),
    /// Real engines, with what they truly held and hit
    Truth(truth::Captures),
}

fn main() -> ExitCode {
    let part = Args::parse().part;
    // What takes memory from the system is what these two measure.
    if !matches!(part, Part::Growth(_) | Part::Memory(_)) {
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
        Part::Fanout(fanout) => fanout::run(fanout),
        Part::Fuzz(fuzz) => fuzz::run(fuzz),
        Part::Growth(growth) => growth::run(growth),
        Part::Hash(hash) => hash::run(hash),
        Part::Memory(memory) => memory::run(memory),
        Part::Readers(readers) => readers::run(readers),
        Part::Truth(captures) => truth::run(captures),
    }
}
