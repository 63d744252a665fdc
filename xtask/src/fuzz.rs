//! `cargo xtask fuzz`: bytes from anywhere, against what reads them.

mod corpus;
mod outcome;
mod target;

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use serde_json::{Map, Value, json};

use crate::failure::{Failure, OrFail as _, Result};
use crate::machine;
use crate::run::{capture, cargo, run as run_command};
use crate::tools::find;
use crate::workspace::Workspace;
use outcome::{Outcome, Table};
use target::Target;

/// Bytes from anywhere, against what reads them: every decoder, snapshots, and the index beside its model.
///
/// Each target of the workspace `fuzz` runs for so many seconds, from the recordings in `tests/fixtures` and from what
/// earlier runs found worth keeping. Half a minute of building comes before it once built, two minutes from nothing.
/// Needs a C++ compiler for libFuzzer. A finding's input is kept, and the command fails.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Only this target
    target: Option<Target>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run the target once, on the bytes of this file: to see a finding again
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json, for each target:
  fuzz.<target>.runs       inputs that were tried
  fuzz.<target>.findings   inputs that broke it: crashes, hangs of 20 s, and more than 2 GiB of memory";

/// What libFuzzer finds its way by: which blocks a run came through, what it compared, and how deep it was. These are the flags that
/// cargo-fuzz 0.13 has for code without a sanitizer; as they are all it is needed for, it is not.
const COVERAGE: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Clink-dead-code",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let programs = build(&workspace, args.target)?;
    if let (Some(target), Some(input)) = (args.target, &args.input) {
        return run_command(Command::new(programs.join(target.name())).arg(input));
    }
    let targets = args.target.as_ref().map_or(Target::ALL.as_slice(), std::slice::from_ref);
    let mut outcomes = Vec::new();
    for &target in targets {
        let outcome = outcome::of(&workspace, &programs, target, args.seconds)?;
        outcome.findings.iter().for_each(|finding| {
            eprintln!("{}: {}", target.name(), outcome.said.as_deref().unwrap_or("it said nothing"));
            eprintln!("  again: cargo xtask fuzz {} --input {}", target.name(), finding.display());
        });
        outcomes.push(outcome);
    }
    let machine = machine::machine();
    println!("\n{}\n\n{}", machine::line(&machine), Table(&outcomes));
    if let Some(path) = &args.json {
        let command = format!("cargo xtask fuzz --seconds {}", args.seconds);
        let report = json!({ "command": command, "machine": machine, "figures": figures(&outcomes) });
        fs::write(path, format!("{report:#}\n")).or_fail(|| format!("cannot write {}", path.display()))?;
    }
    match outcomes.iter().map(|outcome| outcome.findings.len()).sum() {
        0 => Ok(()),
        1 => Err(Failure::new("there is a finding; its input is named above")),
        findings => Err(Failure::new(format!("there are {findings} findings; their inputs are named above"))),
    }
}

/// Builds one target, or all, and says in which folder they lie.
fn build(workspace: &Workspace, target: Option<Target>) -> Result<PathBuf> {
    if find("c++").is_none() {
        return Err(Failure::new(
            "c++ (a C++ compiler, for libFuzzer) is not installed: your system's package manager has it",
        ));
    }
    let (built, host) = (folder(workspace).join("build"), host()?);
    let manifest = workspace.root.join("fuzz/Cargo.toml");
    let mut command = cargo(&workspace.root, ["build", "--release", "--manifest-path"]);
    // With a target named, what runs while it is built is built without them.
    command.arg(manifest).args(["--target", &host]).arg("--target-dir").arg(&built);
    command.args(target.iter().flat_map(|target| ["--bin", target.name()]));
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    run_command(command.env("RUSTFLAGS", format!("{flags} {}", COVERAGE.join(" "))))?;
    Ok(built.join(host).join("release"))
}

/// Everything that fuzzing writes.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("fuzz")
}

/// What rustc compiles for when nothing is said.
fn host() -> Result<String> {
    let said = capture(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc names no host"))
}

fn figures(outcomes: &[Outcome]) -> Map<String, Value> {
    let of = |outcome: &Outcome| {
        let name = outcome.target.name();
        let (runs, findings) = (json!(outcome.runs), json!(outcome.findings.len()));
        [(format!("fuzz.{name}.runs"), runs), (format!("fuzz.{name}.findings"), findings)]
    };
    outcomes.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &[&str]) -> Option<Args> {
        Line::try_parse_from(["fuzz"].iter().chain(words)).ok().map(|line| line.args)
    }

    #[test]
    fn a_target_and_a_time_may_be_chosen() {
        let all = parsed(&[]).unwrap();
        assert_eq!((all.target, all.seconds, all.input), (None, 60, None));

        let one = parsed(&["index_events", "--seconds", "5"]).unwrap();
        assert_eq!((one.target, one.seconds), (Some(Target::IndexEvents), 5));

        assert!(parsed(&["--seconds", "0"]).is_none());
        assert!(parsed(&["teapot"]).is_none());
    }

    #[test]
    fn an_input_is_one_of_a_target() {
        assert!(parsed(&["--input", "crash-1"]).is_none());
        assert_eq!(parsed(&["trtllm", "--input", "crash-1"]).unwrap().input, Some("crash-1".into()));
    }

    #[test]
    fn every_target_has_two_figures() {
        let outcome =
            Outcome { target: Target::Events, runs: 17, seconds: 2.0, findings: vec!["crash-1".into()], said: None };
        let expected = json!({ "fuzz.events.runs": 17, "fuzz.events.findings": 1 });
        assert_eq!(Value::Object(figures(&[outcome])), expected);
    }
}
