//! `cargo xtask bench index`: the prefix index beside Dynamo's and SMG's, from a workspace of its own.

mod figures;
mod job;
mod part;
mod rows;
mod svg;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::job::Ending;
use self::part::Part;
use self::rows::Rows;
use crate::failure::{Failure, OrFail as _, Result};
use crate::machine;
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;

/// The prefix index beside Dynamo's (dynamo-kv-router 1.6.1) and SMG's (kv-index 2.0.0).
///
/// In the same run and on the same streams. The peers are built in a workspace of their own, which takes some minutes
/// once; then about ten minutes for all parts, or one with `--quick`. The machine should be idle: times
/// are those of the thread's own clock, but caches and memory are shared with whatever else runs. llmd is fed with
/// events as engines send them and hashes their tokens inside; the peers are given content hashes that were made
/// outside.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    part: Vec<Part>,
    /// Everything smaller: to see that it runs, not to compare
    #[arg(long)]
    quick: bool,
    /// Replay this trace, which has the form of Mooncake's; by default the conversation trace beside the checkout, and
    /// without either, part events is left out unless it is named
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Compare with the captures in this folder; by default those of the tests
    #[arg(long, value_name = "DIR")]
    captures: Option<PathBuf>,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Draw the grid to this file
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

/// Where the trace and the captures lie, from the checkout.
const TRACE: &str = "../shared/fixtures/mooncake/conversation_trace.jsonl";
const CAPTURES: &str = "tests/fixtures/vllm-0.32-truth";

const FIGURES: &str = "\
Figures in --json. A figure without a name at its end is llmd's; with `.<who>` at its end it is a peer's: dynamo_crtc,
dynamo_positional, dynamo_radix, smg, and where SMG is asked in two ways, smg_find_matches and smg_score_into. A peer
that does not come to an end says why instead of a number: `panicked` or `stuck`.
Part grid, queries with digests given, over 8 to 8192 blocks (B) and 8 to 1024 workers (W):
  index.query_us.<B>x<W>              mean of the thread's own time, best of twelve windows in turns
  index.p99_us.<B>x<W>                99th percentile on the wall, best of the windows
  index.query_geomean_ratio.<who>     geometric mean over the cells of peer / llmd: above 1 llmd is faster
  index.query_geomean_ratio.dynamo, index.query_geomean_ratio.smg, index.query_geomean_ratio.best_peer
                                      the smallest of Dynamo's, of SMG's, of all
Part e2e, the same from tokens that lie in memory, hashing included:
  index.e2e_us.<B>x<W>, index.e2e_p99_us.<B>x<W>
  index.geomean_ratio.<who>, index.geomean_ratio.dynamo, index.geomean_ratio.smg, index.geomean_ratio.best_peer
Part hash, 131,072 tokens:
  hash.us.131072                      beside it `.read` (the tokens read once), `.xxh3` (each block, unkeyed), `.dynamo`
                                      (blocks), `.dynamo_chain` (and their chain), `.smg` (blocks)
  hash.ratio_to_xxh3                  hash.us.131072 / hash.us.131072.xxh3: below 1 is faster
Part events, a trace replayed by 64 engines with 16,384 blocks each, one event for all that a step evicts (grouped) or
one for each block (single, vLLM's way):
  index.events_mblocks_s.grouped, index.events_mblocks_s.single
                                      million blocks a second of the writing thread's own time
  index.events_ratio.grouped, index.events_ratio.single
                                      llmd / SMG: above 1 llmd is faster
Part memory, ten million blocks in chains of 512, what the process grows by for each:
  index.bytes_per_entry.distinct      each chain held by one worker
  index.bytes_per_entry.replicated8   by eight
Part fanout, conversations that leave one system prompt at the same block (10k, 200k, 1m of them):
  index.fanout_us.<n>                 a query that finds one
  index.fanout_miss_us.<n>            a query that finds none
  index.fanout_evict_us.<n>           a conversation evicted
  index.fanout_store_us.<n>           a conversation stored
  index.fanout_spread, index.fanout_evict_spread
                                      the most over the least of these
Part growth, four million blocks loaded from nothing in steps of 512:
  index.growth_stall_us               the longest step of the thread's own time, median of five loads
Part readers, 512 blocks x 64 workers:
  index.reader_ratio_under_writes     a reader's queries a second of its own time, beside a writer / alone
Part fuzz, 60,000 queries of caches that forget from the tail, in the middle, and in the middle with what follows stored
anew; peers get removals as their products count copies:
  index.fuzz_wrong.<who>.<mode>       queries answered wrongly; who is llmd or a peer, mode tail, middle, middle_restore
Part truth, captures of real engines with what they held and hit, each index behind its product's pipeline (who is llmd,
dynamo or smg):
  truth.hits_wrong.dense.<who>, truth.hits_wrong.hybrid.<who>
                                      lookups foretold otherwise than the engine hit
  truth.lookups.dense, truth.lookups.hybrid
  truth.steps, truth.steps_wrong      steps after which llmd held something else than the engine, copies counted";

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let parts = if args.part.is_empty() { possible(&workspace.root, args) } else { args.part.clone() };
    let trace = needed(&workspace.root, &parts, Part::Events, args.trace.as_deref(), TRACE, "--trace FILE")?;
    let captures = needed(&workspace.root, &parts, Part::Truth, args.captures.as_deref(), CAPTURES, "--captures DIR")?;
    let program = build(&workspace, args.quick)?;

    let jobs: Vec<_> = parts.iter().flat_map(|part| part.jobs(args.quick, &trace, &captures)).collect();
    let mut rows = Rows::default();
    for (number, job) in jobs.iter().enumerate() {
        eprintln!("[{}/{}] {job}", number + 1, jobs.len());
        match job.run(&program)? {
            Ending::Done(said) => rows.extend(said),
            ending @ (Ending::Panicked(_) | Ending::Stuck(_)) => rows.broken(job, ending)?,
        }
    }

    let figures = figures::of(&rows);
    let machine = machine::machine();
    println!("\n{}\n\n{}", machine::line(&machine), table::Table(&figures));
    if let Some(path) = &args.svg {
        let picture = svg::picture(&rows, &machine::line(&machine));
        let picture = picture.ok_or_else(|| Failure::new("--svg draws the grid: measure it, with --part grid"))?;
        write(path, &picture)?;
    }
    if let Some(path) = &args.json {
        super::report(path, &command(args), &machine, figures)?;
    }
    Ok(())
}

/// What was measured, as one would type it: without files.
fn command(args: &Args) -> String {
    let parts: Vec<_> = args.part.iter().map(|part| part.name()).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" --part {}", parts.join(",")) };
    format!("cargo xtask bench index{parts}{}", if args.quick { " --quick" } else { "" })
}

/// All parts, but the one whose trace nobody has given and that does not lie beside the checkout.
fn possible(root: &Path, args: &Args) -> Vec<Part> {
    let has_trace = args.trace.is_some() || root.join(TRACE).exists();
    if !has_trace {
        eprintln!("part events is left out: {TRACE} is not there, and there is no --trace FILE");
    }
    Part::ALL.into_iter().filter(|part| has_trace || *part != Part::Events).collect()
}

/// Where what a part needs lies; anywhere, when the part is not run.
fn needed(
    root: &Path,
    parts: &[Part],
    part: Part,
    given: Option<&Path>,
    beside: &str,
    option: &str,
) -> Result<PathBuf> {
    let path = given.map_or_else(|| root.join(beside), Path::to_owned);
    if parts.contains(&part) && !path.exists() {
        let (name, path) = (part.name(), path.display());
        return Err(Failure::new(format!("part {name} needs {path}, which is not there: give it with {option}")));
    }
    Ok(path)
}

/// Builds the peers' workspace; gives the program. `is_quick`: without optimizing across crates, which is half of a build from nothing.
fn build(workspace: &Workspace, is_quick: bool) -> Result<PathBuf> {
    let target = workspace.target.join(if is_quick { "peers-quick" } else { "peers" });
    let manifest = workspace.root.join("benches/peers/Cargo.toml");
    let mut build = cargo(&workspace.root, ["build", "--release", "--locked", "--manifest-path"]);
    build.arg(manifest).arg("--target-dir").arg(&target);
    if is_quick {
        build.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    }
    run_command(&mut build)?;
    Ok(target.join("release/llmd-peers"))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).or_fail(|| format!("cannot write {}", path.display()))
}

/// What is told of a figure: a number, or why there is none.
type Figures = Map<String, Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_without_what_it_needs_is_named() {
        let missing =
            |parts: &[Part]| needed(Path::new("/nowhere"), parts, Part::Truth, None, CAPTURES, "--captures DIR");

        assert!(missing(&[Part::Grid]).is_ok());
        let failure = missing(&[Part::Grid, Part::Truth]).unwrap_err().to_string();
        assert!(failure.starts_with("part truth needs /nowhere/"), "{failure}");
        assert!(failure.ends_with("give it with --captures DIR"), "{failure}");
    }

    #[test]
    fn without_a_trace_everything_else_is_measured() {
        let args = |trace: Option<&str>| Args {
            part: Vec::new(),
            quick: true,
            trace: trace.map(PathBuf::from),
            captures: None,
            json: None,
            svg: None,
        };
        let parts = |trace| possible(Path::new("/nowhere"), &args(trace));

        assert_eq!(parts(Some("trace.jsonl")), Part::ALL);
        assert_eq!(parts(None).len(), Part::ALL.len() - 1);
        assert!(!parts(None).contains(&Part::Events));
    }

    #[test]
    fn the_help_names_every_part() {
        for part in Part::ALL {
            assert!(FIGURES.contains(&format!("Part {},", part.name())), "{part:?}");
        }
    }
}
