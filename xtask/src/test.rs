//! `cargo xtask test`: everything that must pass.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::run::{cargo, run as run_command};
use crate::stages::Stages;
use crate::tools::NEXTEST;
use crate::workspace::Workspace;
use crate::{extension, python, types};

/// Everything that must pass.
///
/// Rust unit, integration and documentation tests with all features; then the Python package as those have built it, its
/// type stubs, and a real client in Python against real processes. About five minutes on two cores from nothing, under
/// two once built. The Python environment is made on first use, from a pinned list, in the user's cache folder.
/// cargo-nextest is used where it is installed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the Python tests out
    #[arg(long)]
    no_python: bool,
    /// Replay the captures of this folder through an index, and nothing else: `*.json.gz` with what the engine held, as
    /// in `tests/fixtures/vllm-0.32-truth`, and `*.json` with what it said, as in `tests/fixtures/vllm-0.32`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["no_python", "filter"])]
    captures: Option<PathBuf>,
    /// Run only the tests whose names contain one of these
    filter: Vec<String>,
}

/// One selection for every cargo call here, so that nothing is compiled twice with other features.
pub(crate) const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

/// Each in a run of its own: both have a `conftest.py`.
const PYTHON_TESTS: [&str; 2] = ["llmd-py/tests", "tests/python"];

pub(crate) fn run(args: Args) -> Result {
    let workspace = Workspace::load()?;
    let mut stages = Stages::default();
    if let Some(folder) = args.captures {
        stages.run("captures", || run_command(&mut replay(&workspace, &folder)?));
        return stages.finish();
    }
    let built = stages
        .run("build", || run_command(cargo(&workspace.root, ["build"]).args(EVERYTHING).args(["--bins", "--tests"])));
    if !built {
        return stages.finish();
    }
    stages.run("rust tests", || run_command(&mut rust_tests(&workspace, &args.filter)));
    stages.run("doc tests", || {
        run_command(cargo(&workspace.root, ["test", "--doc"]).args(EVERYTHING).arg("--").args(&args.filter))
    });
    if args.no_python {
        stages.skip("python tests", "--no-python");
    } else if let Some((python, stage)) = prepared(&mut stages, &workspace) {
        if args.filter.is_empty() {
            stages.run("python stubs", || types::compare_stubs(&workspace, &python, &stage));
        }
        for folder in PYTHON_TESTS {
            stages.run(format!("python tests: {folder}"), || {
                python_tests(&workspace, &python, &stage, folder, &args.filter)
            });
        }
    }
    stages.finish()
}

/// Replays the captures of a folder, and says of each how much was compared and how much was wrong.
fn replay(workspace: &Workspace, folder: &Path) -> Result<Command> {
    let folder = folder
        .canonicalize()
        .map_err(|error| Failure::new(format!("captures {}: {error}: expected a folder", folder.display())))?;
    let mut command = cargo(&workspace.root, ["test"]);
    command.args(EVERYTHING).args([
        "--test",
        "truth",
        "--",
        "--exact",
        "folder::every_capture_of_a_folder_is_replayed",
    ]);
    command.args(["--ignored", "--nocapture"]).env("LLMD_CAPTURES", folder);
    Ok(command)
}

/// Unit and integration tests, by nextest where it is installed.
pub(crate) fn rust_tests(workspace: &Workspace, filter: &[String]) -> Command {
    let mut command = cargo(&workspace.root, [""; 0]);
    if NEXTEST.is_installed() {
        command.args(["nextest", "run"]).args(EVERYTHING);
        if env::var_os("CI").is_some() {
            command.args(["--profile", "ci"]);
        }
        if !filter.is_empty() {
            command.arg("--no-tests=warn").args(filter);
        }
    } else {
        command.arg("test").args(EVERYTHING).args(["--no-fail-fast", "--lib", "--bins", "--tests", "--"]).args(filter);
    }
    command
}

/// The Python of the tests, and the folder with the package that they test.
fn prepared(stages: &mut Stages, workspace: &Workspace) -> Option<(PathBuf, PathBuf)> {
    let mut made = None;
    stages.run("python environment", || {
        made = Some((python::environment(workspace)?, extension::stage(workspace)?));
        Ok(())
    });
    made
}

fn python_tests(workspace: &Workspace, python: &Path, stage: &Path, folder: &str, filter: &[String]) -> Result {
    const NOTHING_SELECTED: i32 = 5;
    let mut pytest = Command::new(python);
    pytest.current_dir(&workspace.root).env("LLMD_BIN_DIR", workspace.target.join("debug")).env("PYTHONPATH", stage);
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", folder]);
    if filter.is_empty() {
        return run_command(&mut pytest);
    }
    pytest.args(["-k", &filter.join(" or ")]);
    match pytest.status().map_err(|error| crate::run::not_started(&pytest, &error))?.code() {
        Some(0 | NOTHING_SELECTED) => Ok(()),
        _ => Err(Failure::new(format!("Python tests in {folder} failed"))),
    }
}
