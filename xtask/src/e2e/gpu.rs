//! `cargo xtask e2e gpu`: all that the tests do with a fake driver, with this machine's GPU.

use std::process::Command;

use crate::bench::device;
use crate::extension;
use crate::failure::Result;
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;

/// What needs a GPU: every device test with its own driver, and vLLM's connector between two processes with caches in it.
///
/// Wants one GPU with its driver, and a Python with pytest and a torch that sees it. Three minutes once built. Without a GPU it
/// says what was looked for, and fails: this waits for a machine that has one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The Python that has torch
    #[arg(long, default_value = "python3")]
    python: String,
}

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    // It fails where there is no GPU; tests would only say so.
    device::measure(&workspace, true, device::FEW_MIB, &workspace.target.join("xtask/device.json"))?;
    let tests = ["test", "--release", "--package", "llmd-kvxfer", "--all-features", "--test", "device"];
    run_command(cargo(&workspace.root, tests).args(["--", "real::", "the_machines"]))?;
    run_command(&mut cargo(&workspace.root, ["build", "--release", "--package", "llmd-py"]))?;
    let package = extension::stage_released(&workspace)?;
    let mut python = Command::new(&args.python);
    python.current_dir(&workspace.root).env("PYTHONPATH", &package);
    run_command(python.args(["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "llmd-py/tests/test_gpu.py"]))
}
