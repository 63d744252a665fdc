//! `cargo xtask doc`: the manual.

use crate::failure::Result;
use crate::run::{cargo, run as run_command};
use crate::test::EVERYTHING;
use crate::workspace::Workspace;

/// The manual: the documentation of every crate.
///
/// Every warning is an error. About a minute on two cores from nothing. What it writes is in cargo's target folder,
/// under `doc`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Open it in a browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(args: Args) -> Result {
    build(&Workspace::load()?, args.open)
}

/// Builds the manual, and opens it when asked.
///
/// # Errors
///
/// When a link is broken, or anything else is worth a warning.
pub(crate) fn build(workspace: &Workspace, open: bool) -> Result {
    let mut command = cargo(&workspace.root, ["doc", "--no-deps"]);
    command.args(EVERYTHING).env("RUSTDOCFLAGS", "-D warnings");
    run_command(if open { command.arg("--open") } else { &mut command })
}
