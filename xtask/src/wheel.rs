//! `cargo xtask wheel`: the Python package as users get it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{cargo, forget_package, not_started, run as run_command, shown};
use crate::stages::Stages;
use crate::stopwatch::Stopwatch;
use crate::workspace::Workspace;
use crate::{extension, machine, python};

/// The Python package as users get it: one wheel for every CPython from 3.11 on, and for every Linux from glibc 2.28 on.
///
/// maturin builds it in cargo's profile `wheel`, with zig as the linker, which knows old glibcs; both come from a pinned
/// list, into the user's cache folder, on first use. Four minutes on two cores from nothing. The wheel goes into
/// `wheels` in cargo's target folder.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Also install it where nothing else is, use it in every way that has an end, and remove it: a minute
    #[arg(long)]
    check: bool,
    /// Build the package for development instead, and print the folder to put into PYTHONPATH
    #[arg(long, conflicts_with_all = ["check", "json", "out"])]
    dev: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Where the wheel goes
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json:
  wheel.build_s       what the build took, of which much may have been done before
  wheel.size_mb       the wheel, limit 25
  wheel.unpacked_mb   the extension in it
With --check:
  wheel.import_ms     `import llmd_py`: median of 20 processes, less a bare interpreter's; the aim is 100, fails from 300
  wheel.life_ms       median of 100 processes that import, follow a stream, fork, and end on both sides";

/// The oldest glibc that it runs on, by the name that pip knows.
const COMPATIBILITY: &str = "manylinux_2_28";

/// What a wheel may weigh, in megabytes.
const MAX_SIZE_MB: f64 = 25.0;

/// Installs a wheel where nothing else is, uses it and removes it; prints figures.
const CLEAN: &str = "llmd-py/tests/clean_environment.py";

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    if args.dev {
        run_command(&mut cargo(&workspace.root, ["build", "--package", "llmd-py"]))?;
        println!("{}", extension::stage(&workspace)?.display());
        return Ok(());
    }
    let tools = python::tools(&workspace)?;
    let mut figures = Map::new();
    let mut stages = Stages::default();
    let mut wheel = None;
    let out = args.out.clone().unwrap_or_else(|| workspace.target.join("wheels"));
    stages.run("build", || {
        wheel = Some(build(&workspace, &tools, &out, &mut figures)?);
        Ok(())
    });
    if args.check {
        match &wheel {
            Some(wheel) => _ = stages.run("clean environment", || check(&workspace, &tools, wheel, &mut figures)),
            None => stages.skip("clean environment", "there is no wheel"),
        }
    }
    for (name, value) in &figures {
        println!("{name:18} {value}");
    }
    if let Some(path) = &args.json {
        let command = format!("cargo xtask wheel{}", if args.check { " --check" } else { "" });
        let report = json!({ "command": command, "machine": machine::machine(), "figures": figures });
        fs::write(path, format!("{report:#}\n")).or_fail(|| format!("cannot write {}", path.display()))?;
    }
    stages.finish()
}

/// Builds the wheel into `out`, and gives its path.
fn build(workspace: &Workspace, tools: &Path, out: &Path, figures: &mut Map<String, Value>) -> Result<PathBuf> {
    let stopwatch = Stopwatch::start();
    let fresh = workspace.target.join("xtask/wheel");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).or_fail(|| format!("cannot remove {}", fresh.display()))?;
    }
    let mut maturin = Command::new(tools);
    forget_package(&mut maturin);
    // The interpreter's folder first in PATH: there maturin looks for zig.
    maturin.current_dir(workspace.root.join("llmd-py")).env("PATH", path_with(tools)?);
    maturin.args(["-m", "maturin", "build", "--profile", "wheel", "--zig", "--auditwheel", "check"]);
    // The stubs are those that are committed, and tested to be true.
    maturin.args(["--compatibility", COMPATIBILITY, "--out"]).arg(&fresh);
    run_command(&mut maturin)?;

    let built = only_wheel(&fresh)?;
    let name = built.file_name().unwrap_or_default();
    let (size, wheel) = (megabytes(&built)?, out.join(name));
    fs::create_dir_all(out)
        .and_then(|()| fs::copy(&built, &wheel))
        .or_fail(|| format!("cannot write {}", wheel.display()))?;
    println!("{}", wheel.display());
    figures.insert("wheel.build_s".into(), rounded(stopwatch.elapsed().as_secs_f64()));
    figures.insert("wheel.size_mb".into(), rounded(size));
    if size > MAX_SIZE_MB {
        return Err(Failure::new(format!("the wheel has {size:.1} MB: expected {MAX_SIZE_MB} or less")));
    }
    Ok(wheel)
}

/// Lets the wheel live and go in an environment of its own, and takes the figures that this gives.
fn check(workspace: &Workspace, tools: &Path, wheel: &Path, figures: &mut Map<String, Value>) -> Result {
    let mut clean = Command::new(tools);
    clean.current_dir(&workspace.root).args([CLEAN.as_ref(), wheel]).arg(workspace.target.join("xtask/clean"));
    eprintln!("$ {}", shown(&clean));
    let output = clean.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| not_started(&clean, &error))?;
    let found: Map<String, Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    figures.extend(found);
    if output.status.success() { Ok(()) } else { Err(Failure::new("the wheel does not do what it must; see above")) }
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).or_fail(|| format!("cannot read {}", folder.display()))?.flatten();
    let files = entries.map(|entry| entry.path());
    let wheels: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "whl")).collect();
    match wheels.as_slice() {
        [wheel] => Ok(wheel.clone()),
        _ => Err(Failure::new(format!("maturin left {} wheels in {}: expected 1", wheels.len(), folder.display()))),
    }
}

fn path_with(program: &Path) -> Result<OsString> {
    let folder = program.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(folder.into_iter().chain(env::split_paths(&path))).or_fail(|| "PATH cannot be extended".into())
}

fn megabytes(file: &Path) -> Result<f64> {
    let metadata = fs::metadata(file).or_fail(|| format!("cannot read {}", file.display()))?;
    Ok(metadata.len() as f64 / 1e6)
}

/// A figure with one digit after the point.
fn rounded(value: f64) -> Value {
    json!((value * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreters_folder_comes_first_in_path() {
        let path = path_with(Path::new("tools/bin/python")).unwrap();

        assert_eq!(env::split_paths(&path).next(), Some(PathBuf::from("tools/bin")));
        assert_eq!(env::split_paths(&path).count(), env::split_paths(&env::var_os("PATH").unwrap()).count() + 1);
    }

    #[test]
    fn the_script_of_the_clean_environment_is_there_and_names_its_figures() {
        let script = fs::read_to_string(Workspace::load().unwrap().root.join(CLEAN)).unwrap();
        let names: Vec<_> = FIGURES.split_whitespace().filter(|word| word.starts_with("wheel.")).collect();

        assert_eq!(names.len(), 5);
        let (built, found) = names.split_at(2);
        assert!(found.iter().all(|name| script.contains(name)), "{found:?}");
        assert!(built.iter().all(|name| !script.contains(name)), "{built:?}");
    }
}
