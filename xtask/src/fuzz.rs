//! `cargo xtask fuzz`: bytes from anywhere, against what reads them.

mod corpus;
mod outcome;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::failure::{Failure, OrFail as _, Result};
use crate::kept;
use crate::machine;
use crate::run::{capture, cargo, forget_package, run as run_command};
use crate::tools::find;
use crate::workspace::Workspace;
use outcome::{Outcome, Table};
use target::Target;

/// Bytes from anywhere, against what reads them: every decoder, snapshots, and the index beside its model.
///
/// Each target of the workspace `fuzz` runs for so many seconds, from the recordings in `tests/fixtures` and from what
/// earlier runs found worth keeping. Half a minute of building comes before it once built, four minutes from nothing
/// (cargo-fuzz included, which is made on first use, in the user's cache folder). Needs a C++ compiler for libFuzzer.
/// A finding's input is kept, and the command fails.
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

/// The release of cargo-fuzz that is made where none is installed.
const CARGO_FUZZ: &str = "0.13.2";

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
    let built = folder(workspace).join("build");
    let mut command = Command::new(cargo_fuzz(workspace)?);
    command.current_dir(&workspace.root).args(["fuzz", "build", "--fuzz-dir", "fuzz", "--sanitizer", "none"]);
    command.env("CARGO_TARGET_DIR", &built).args(target.map(Target::name));
    forget_package(&mut command);
    run_command(&mut command)?;
    Ok(built.join(host()?).join("release"))
}

/// Everything that fuzzing writes.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("fuzz")
}

/// The cargo-fuzz that is installed, or one in the user's cache folder, which is made when it is not there.
fn cargo_fuzz(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(installed) = find("cargo-fuzz") {
        return Ok(installed);
    }
    let compiler = capture(Command::new("rustc").arg("--version"))?;
    let program = Path::new("bin").join("cargo-fuzz");
    let sources = [CARGO_FUZZ.as_bytes(), compiler.as_bytes()];
    let folder = kept::folder("cargo-fuzz", &sources, "bin/cargo-fuzz", |folder| {
        let mut install =
            cargo(&workspace.root, ["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--root"]);
        run_command(install.arg(folder).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS"))
    })?;
    Ok(folder.join(program))
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
