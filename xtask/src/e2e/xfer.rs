//! `cargo xtask e2e xfer`: engines that fetch from each other while they are killed, paused, cut off and lied to.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::failure::{Failure, OrFail as _, Result};
use crate::machine;
use crate::run::{cargo, not_started, run as run_command, shown};
use crate::workspace::Workspace;

/// Engines that fetch from each other while they are killed, paused, cut off and lied to.
///
/// Every byte that arrives is held against what it should be. About two minutes once built, with `--short` less than 40 seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Less than 40 seconds, for CI: fewer operations, the same promises
    #[arg(long)]
    short: bool,
    /// For how long things break, in place of 100 seconds or, with --short, 12
    #[arg(long)]
    seconds: Option<u64>,
    /// Everything random is drawn from this
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// By which transports blocks are moved, in place of all: names with commas between
    #[arg(long, value_name = "NAMES")]
    transports: Option<String>,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json, of which the five promises are 0:
  chaos.wrong_bytes               bytes that were said to have arrived as they were sent and had not, or that were written
                                  after their operation had ended
  chaos.hung                      operations that did not end within 5 seconds of their deadline, and what did not come
                                  although nothing was broken any more
  chaos.leaks                     file descriptors, mappings, threads, leases and operations that are left over
  chaos.unauthorised_reads        operations that brought a byte which was not theirs to read
  chaos.crashes                   engines that ended by themselves
  chaos.transfers                 operations that ended: at least 10,000, with --short 500
  chaos.checked_blocks            blocks that were said to have arrived, each compared byte by byte
  chaos.fetched_bytes, chaos.abandoned (operations given up with their agent), chaos.seed, chaos.seconds
  chaos.denied_though_granted     operations that waited for an agent to which a forged grant had led elsewhere
  chaos.fault.<fault>             how often each was made
  chaos.outcome.<outcome>         how operations ended; chaos.ended.<grant>.<outcome> by what was granted or forged
  chaos.by.<transport>            by which transport
  chaos.refused.<grant>: <why>    what did not even begin";

const PROMISES: [&str; 5] = ["wrong_bytes", "hung", "leaks", "unauthorised_reads", "crashes"];

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    run_command(&mut cargo(&workspace.root, ["build", "--release", "--package", "llmd-chaos"]))?;
    let (seconds, transfers) = if args.short { (12, 500) } else { (100, 10_000) };
    let seconds = args.seconds.unwrap_or(seconds);
    let mut chaos = Command::new(workspace.target.join("release/llmd-chaos"));
    chaos.args(["--seconds", &seconds.to_string(), "--transfers", &transfers.to_string()]);
    chaos.args(["--seed", &args.seed.to_string()]);
    chaos.args(args.transports.iter().flat_map(|names| ["--transports", names]));
    eprintln!("$ {}", shown(&chaos));
    let output = chaos.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| not_started(&chaos, &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("the engines could not be run ({})", output.status)));
    }
    let figures = serde_json::from_slice(&output.stdout).or_fail(|| "no figures were told".into())?;
    let machine = machine::machine();
    println!("{}\n\n{}", machine::line(&machine), Table(&figures));
    if let Some(path) = &args.json {
        let command = format!("cargo xtask e2e xfer{} --seed {}", if args.short { " --short" } else { "" }, args.seed);
        let report = json!({ "command": command, "machine": machine, "figures": figures });
        fs::write(path, format!("{report:#}\n")).or_fail(|| format!("cannot write {}", path.display()))?;
    }
    kept(&figures, transfers)
}

/// Whether all promises were.
fn kept(figures: &Map<String, Value>, transfers: u64) -> Result {
    let figure = |name: &str| figures.get(&format!("chaos.{name}")).and_then(Value::as_u64);
    let broken = PROMISES.into_iter().filter(|name| figure(name) != Some(0));
    let broken = broken
        .map(|name| format!("{name} is {}, not 0", figure(name).map_or_else(|| "missing".into(), |it| it.to_string())));
    let mut broken: Vec<_> = broken.collect();
    if figure("transfers").is_none_or(|ended| ended < transfers) {
        broken.push(format!("fewer than {transfers} operations ended"));
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(format!("promises broken: {}", broken.join("; ")))) }
}

/// What was broken, how operations ended, and the promises.
#[derive(Debug)]
struct Table<'a>(&'a Map<String, Value>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, prefix) in [("fault", "chaos.fault."), ("outcome", "chaos.outcome.")] {
            writeln!(f, "{title:34} {:>8}", "count")?;
            for (name, count) in self.below(prefix) {
                writeln!(f, "  {:32} {count:>8}", name.replace('_', " "))?;
            }
            writeln!(f)?;
        }
        let mut rows = BTreeMap::<_, Vec<_>>::new();
        for (name, count) in self.below("chaos.ended.") {
            let (kind, outcome) = name.split_once('.').unwrap_or((name, ""));
            rows.entry(kind).or_default().push(format!("{outcome} {count}"));
        }
        writeln!(f, "how operations ended, by what was granted or forged")?;
        for (kind, outcomes) in rows {
            writeln!(f, "  {:14} {}", kind.replace('_', " "), outcomes.join(", "))?;
        }
        let figure =
            |name: &str| self.0.get(&format!("chaos.{name}")).map_or_else(|| "missing".into(), Value::to_string);
        writeln!(f, "\n{} operations, {} blocks compared", figure("transfers"), figure("checked_blocks"))?;
        let promises = PROMISES.map(|name| format!("{} {}", name.replace('_', " "), figure(name)));
        writeln!(f, "{}", promises.join(", "))
    }
}

impl<'a> Table<'a> {
    fn below(&self, prefix: &'static str) -> impl Iterator<Item = (&'a str, u64)> {
        let named = self.0.iter().filter_map(move |(name, count)| Some((name.strip_prefix(prefix)?, count.as_u64()?)));
        named.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(more: Value) -> Map<String, Value> {
        let mut all = json!({ "chaos.transfers": 12_000, "chaos.fault.killed": 9, "chaos.outcome.done": 8000,
            "chaos.ended.honest.done": 8000, "chaos.ended.honest.stale": 3000 });
        for name in PROMISES {
            all[format!("chaos.{name}")] = json!(0);
        }
        let (Value::Object(mut all), Value::Object(more)) = (all, more) else { panic!("objects were written") };
        all.extend(more);
        all
    }

    #[test]
    fn a_promise_that_is_broken_or_missing_is_named() {
        kept(&figures(json!({})), 10_000).unwrap();
        let broken = kept(&figures(json!({ "chaos.hung": 2, "chaos.transfers": 9 })), 10_000).unwrap_err();
        assert_eq!(broken.to_string(), "promises broken: hung is 2, not 0; fewer than 10000 operations ended");
        let mut missing = figures(json!({}));
        missing.remove("chaos.leaks");
        assert!(kept(&missing, 1).unwrap_err().to_string().contains("leaks is missing"));
    }

    #[test]
    fn the_table_says_what_was_made_and_how_it_ended() {
        let table = Table(&figures(json!({}))).to_string();
        assert!(table.contains("killed                                  9\n"), "{table}");
        assert!(table.contains("honest         done 8000, stale 3000\n"), "{table}");
        assert!(table.contains("wrong bytes 0, hung 0"), "{table}");
    }
}
