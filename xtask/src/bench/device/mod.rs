//! `cargo xtask bench device`: what a GPU and the host exchange, beside plain batches and the copy engine's limit.

mod picture;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

use crate::failure::{Failure, OrFail as _, Result};
use crate::machine;
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;

/// Fragments of KV between this machine's GPU and its host, in both directions.
///
/// llmd's choice beside a plain batch of copies, and beside one large copy, which is the copy engine's limit; and a second process
/// that reads the same memory. About two minutes once built; the GPU should be idle. Without a GPU it says what was looked for,
/// and fails.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Few and small: to see that it runs, not to compare
    #[arg(long)]
    quick: bool,
    /// MiB of the GPU, and twice as many of the host
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory: u64,
    /// Draw what was measured elsewhere and written to this file, instead of measuring
    #[arg(long, value_name = "PATH", conflicts_with_all = ["quick", "memory", "json"], requires = "svg")]
    measured: Option<PathBuf>,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Draw gigabytes a second by size of fragment to this file
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json; <way> is to_device or to_host, <cell> the bytes of a fragment and how many there are, such as 4096x256:
  device.<way>.<cell>.llmd_gb_per_s   by the way that llmd chose: device.<way>.<cell>.way says which
  device.<way>.<cell>.batch_gb_per_s  as one batch of copies, by the driver
  device.<way>.<cell>.limit_gb_per_s  as many bytes as one copy
  device.wrong_copies                 copies that brought other bytes: 0
  device.ipc.to_host_gb_per_s         what a second process reads of memory that was exported to it
  device.costs.*                      what was measured when the program began, by which the way is chosen";

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let (told, caption) = if let Some(path) = &args.measured {
        (path.clone(), format!("figures of {}", path.file_name().unwrap_or_default().display()))
    } else {
        let told = workspace.target.join("xtask/device.json");
        measure(&workspace, args.quick, args.memory, &told)?;
        (told, machine::line(&machine::machine()))
    };
    let figures = read(&told)?;
    if let Some(path) = &args.svg {
        let picture = picture::picture(&figures, &caption);
        let picture = picture.ok_or_else(|| Failure::new(format!("{} has no figures of a GPU", told.display())))?;
        fs::write(path, picture).or_fail(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        let command = format!("cargo xtask bench device{}", if args.quick { " --quick" } else { "" });
        super::report(path, &command, &machine::machine(), figures)?;
    }
    Ok(())
}

/// As much memory as `--quick` needs, in MiB.
pub(crate) const FEW_MIB: u64 = 64;

/// Measures this machine's GPU, and has the figures written there.
pub(crate) fn measure(workspace: &Workspace, quick: bool, memory: u64, told: &Path) -> Result {
    run_command(&mut cargo(&workspace.root, ["build", "--release", "--package", "llmd-device"]))?;
    let mut program = Command::new(workspace.target.join("release/llmd-device"));
    program.args(["--memory", &memory.to_string()]).arg("--json").arg(told);
    if quick {
        program.arg("--quick");
    }
    run_command(&mut program)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read(path).or_fail(|| format!("cannot read {}", path.display()))?;
    let mut whole: Value =
        serde_json::from_slice(&text).or_fail(|| format!("{}, expected figures of a GPU", path.display()))?;
    match whole.get_mut("figures").map(Value::take) {
        Some(Value::Object(figures)) => Ok(figures),
        _ => Err(Failure::new(format!("{} has no figures, expected those of a GPU", path.display()))),
    }
}
