//! `cargo xtask loom`: what is concurrent, in every order in which threads may see it.

use std::env;

use crate::failure::Result;
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;

/// What is concurrent, in every order in which threads may see it.
///
/// The index's models: a writer and a reader of run headers, of the table, of memory that grows, and of whole prefixes; and the
/// scheduler's: a reservation that its guard and its deadline give back; and those of the rings through which agents of one machine
/// speak: a slot that is whole, and a sleeper that is woken. Loom goes through the orders that the memory model of C++11 allows, also those that this machine's processor never shows.
/// Under a minute once built, two minutes more from nothing: everything is compiled with `--cfg loom`, in a folder of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the models whose names contain one of these
    filter: Vec<String>,
}

/// Where the models are, as a path in their crates.
const MODELS: &str = "models::";

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let packages = ["--package", "llmd-core", "--package", "llmd-kvxfer", "--package", "llmd-routing"];
    let mut models = cargo(&workspace.root, ["test"].into_iter().chain(packages).chain(["--lib", "--"]));
    if args.filter.is_empty() {
        models.arg(MODELS);
    } else {
        models.args(&args.filter);
    }
    models.env("RUSTFLAGS", format!("{flags} --cfg loom")).env("CARGO_TARGET_DIR", workspace.target.join("loom"));
    run_command(&mut models)
}
