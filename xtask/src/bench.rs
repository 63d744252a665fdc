//! `cargo xtask bench`: micro-benchmarks, each beside a physical limit or a peer measured in the same run.

mod bindings;
mod decision;
pub(crate) mod device;
mod estimates;
mod heal;
mod index;
mod svg;
mod table;
mod xfer;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, OrFail as _, Result};
use crate::machine;
use crate::run::{cargo, run as run_command};
use crate::stopwatch::time_of_day;
use crate::workspace::Workspace;

/// Micro-benchmarks, each beside a physical limit or a peer.
///
/// The limits and peers are measured in the same run. About four minutes for all once built, a quarter of that with
/// `--quick`; the machine should be idle. `cargo xtask bench device`, which wants a GPU, `cargo xtask bench index` and
/// `cargo xtask bench xfer` are runs of their own.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    beside: Option<Beside>,
    /// Only the benches of this part
    part: Option<Part>,
    /// Fewer samples: to see that it runs, not to compare
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// What is measured beside peers that bring much along.
#[derive(Debug, Subcommand)]
enum Beside {
    Device(device::Args),
    Index(index::Args),
    Xfer(xfer::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    /// What the C ABI and Python add to a call
    Bindings,
    /// Hashing, events, index
    Core,
    /// How long a decision of llm-d's default profile takes, and how that grows
    Decision,
    /// How the index heals after a restart of an engine or the router, and lost batches
    Heal,
    /// The scheduler
    Routing,
}

impl Part {
    const ALL: [Self; 5] = [Self::Bindings, Self::Core, Self::Decision, Self::Heal, Self::Routing];

    /// The benches that criterion runs.
    const fn benches(self) -> &'static [&'static str] {
        match self {
            Self::Bindings | Self::Decision | Self::Heal => &[],
            Self::Core => &["hash", "events", "index"],
            Self::Routing => &["decide"],
        }
    }
}

const FIGURES: &str = "\
Figures in --json, for each bench (a row is a limit, a peer or a part that stands beside llmd):
  <bench>.<case>.llmd_ns          what llmd takes, mean, nanoseconds
  <bench>.<case>.<row>_ns         what that takes
  <bench>.<case>.ratio.<row>      llmd_ns / <row>_ns: below 1 is faster
Benches and their cases:
  hash.chain_131072               limit_read (the tokens read once), peer_xxh3 (XXH3 of each block, unkeyed, unchained)
  events.batch_of_512             peer_rmp_serde (into typed structs), limit_read (reading the bytes once)
  index.query_64x512              limit_hash_map (the same walk over a HashMap from block to a mask of workers)
  decide.endpoints_8, decide.endpoints_64
                                  part_prefix (hashing the prompt, asking the index), limit_scan (the choice alone: the
                                  best of an array of weighted sums)
And of `bindings`, medians over turns that Rust, C and Python take (<who> is rust, c or py):
  bindings.<who>_query_us         who holds a prompt of 1,024 tokens, of 64 workers; tokens in a buffer
  bindings.<who>_dense_us         the same, as 64 numbers in an array
  bindings.<who>_decide_us        an endpoint of 8 is chosen for it, and given back
  bindings.<who>_apply_mevents_s  millions of events a second, in batches of 64, one block each
  bindings.c_query_ratio_to_rust, bindings.c_decide_ratio_to_rust, bindings.c_dense_ratio_to_rust
  bindings.py_query_overhead_us, bindings.py_decide_overhead_us, bindings.py_dense_overhead_us
And of `decision`, of llm-d's default profile with exact prefixes, hashing included (<cell> is endpoints x tokens, k is
1024: 10x1k, 100x1k, 1000x1k, 100x100k, 1000x100k); decisions that the system interrupted are left out, and the best of the
windows counts:
  decision_us.p50.<cell>, decision_us.p99.<cell>
  decision_ns_per_endpoint        what each endpoint more takes, from 10 to 1000 with 1k tokens, by the medians
  allocations_per_decision        with 100x100k; allocations_per_decision.<cell> with others
  concurrent_decisions_ratio      decisions a second of two threads on one scheduler against one thread, with 100x100k;
                                  concurrent_decisions_ratio.<cell> with that and 100x1k, and beside it
                                  concurrent_decisions_limit.<cell>, of two threads that have nothing in common
  decisions_per_s.<cell>          of one thread, which asks about the same few prompts
  decisions_interrupted           how many were left out
And of `heal`, on engines that are processes of their own (<fault> is engine_restart, router_restart or lost_1pct):
  index.heal_s.<fault>            the longest time until the index was exact again; index.heal_median_s.<fault> the usual,
                                  index.heal_faults.<fault> how many there were
  index.wrong_while_exact         lists and answers that were wrong while it claimed to be exact
  index.heal_moments, index.heal_queries, index.heal_hits, index.heal_moments_unknown
                                  what was compared: lists, prompts, those that were held, and what could not be";

pub(crate) fn run(args: &Args) -> Result {
    match &args.beside {
        Some(Beside::Device(args)) => return device::run(args),
        Some(Beside::Index(args)) => return index::run(args),
        Some(Beside::Xfer(args)) => return xfer::run(args),
        None => {}
    }
    let workspace = Workspace::load()?;
    let parts = args.part.as_ref().map_or(Part::ALL.as_slice(), std::slice::from_ref);
    let machine = machine::machine();
    let mut figures = Map::new();
    if parts.iter().any(|part| !part.benches().is_empty()) {
        let cases = criterion(&workspace, parts, args.quick)?;
        println!("\n{}\n\n{}", machine::line(&machine), table::Table(&cases));
        figures.append(&mut figures_of(&cases));
    }
    if parts.contains(&Part::Bindings) {
        let mut measured = bindings::measure(&workspace, args.quick)?;
        println!("\n{}\n\n{}", machine::line(&machine), bindings::Table(&measured));
        figures.append(&mut measured);
    }
    if parts.contains(&Part::Decision) {
        let mut measured = decision::measure(&workspace, args.quick)?;
        println!("\n{}\n\n{}", machine::line(&machine), decision::Table(&measured));
        figures.append(&mut measured);
    }
    if parts.contains(&Part::Heal) {
        let mut measured = heal::measure(&workspace, args.quick)?;
        println!("\n{}\n\n{}", machine::line(&machine), heal::Table(&measured));
        figures.append(&mut measured);
    }
    if let Some(path) = &args.json {
        let command = format!("cargo xtask bench{}", if args.quick { " --quick" } else { "" });
        report(path, &command, &machine, figures)?;
    }
    Ok(())
}

/// Writes what was measured, by what and where.
fn report(path: &Path, command: &str, machine: &Value, figures: Map<String, Value>) -> Result {
    let report = json!({ "command": command, "machine": machine, "figures": figures });
    fs::write(path, format!("{report:#}\n")).or_fail(|| format!("cannot write {}", path.display()))
}

/// Runs the benches of these parts that are criterion's.
fn criterion(workspace: &Workspace, parts: &[Part], quick: bool) -> Result<Vec<estimates::Case>> {
    let mut command = cargo(&workspace.root, ["bench", "--package", "llmd-benches"]);
    for bench in parts.iter().flat_map(|part| part.benches()) {
        command.args(["--bench", bench]);
    }
    if quick {
        command.args(["--", "--quick"]);
    }
    let started = time_of_day();
    run_command(&mut command)?;

    let cases = estimates::read(&workspace.target.join("criterion"), started)?;
    if cases.is_empty() {
        return Err(Failure::new("the benches ran, but criterion left no estimates"));
    }
    Ok(cases)
}

fn figures_of(cases: &[estimates::Case]) -> Map<String, Value> {
    let mut figures = Map::new();
    for case in cases {
        for row in &case.rows {
            figures.insert(format!("{}.{}_ns", case.name, row.who), json!(row.nanoseconds));
        }
        for (who, ratio) in case.ratios() {
            figures.insert(format!("{}.ratio.{who}", case.name), json!(ratio));
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::estimates::{Case, Row};
    use super::*;

    #[test]
    fn every_row_becomes_a_figure_and_every_limit_a_ratio() {
        let row = |who: &str, nanoseconds| Row { who: who.into(), nanoseconds, elements: None };
        let rows = vec![row("llmd", 30.0), row("limit_read", 10.0)];

        let figures = figures_of(&[Case { name: "hash.chain".into(), rows }]);

        assert_eq!(
            Value::Object(figures),
            json!({ "hash.chain.llmd_ns": 30.0, "hash.chain.limit_read_ns": 10.0, "hash.chain.ratio.limit_read": 3.0 })
        );
    }

    #[test]
    fn the_help_names_every_bench() {
        for bench in Part::ALL.iter().flat_map(|part| part.benches()) {
            assert!(FIGURES.contains(&format!("{bench}.")), "{bench}");
        }
    }
}
