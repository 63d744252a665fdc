//! `cargo xtask bless`: accepts what snapshots and generated files now say.

use crate::failure::Result;
use crate::instructions;
use crate::run::{cargo, run as run_command};
use crate::stages::Stages;
use crate::test::rust_tests;
use crate::tools::VALGRIND;
use crate::workspace::Workspace;

/// Accepts what snapshots and generated files now say.
///
/// `git diff` then shows what that was. Runs the Rust tests with `UPDATE_EXPECT=1` and makes the generated files anew,
/// the counts of instructions among them, which `cargo xtask bless instructions` makes alone. Takes as long as the tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Accept only the snapshots of tests whose names contain one of these
    filter: Vec<String>,
}

/// What a program of the workspace writes into the checkout: name, cargo's arguments.
const GENERATED: [(&str, &[&str]); 1] =
    [("tokenizer of the fleet", &["run", "--release", "--package", "llmd-fleet", "--bin", "make-tokenizer"])];

/// The word that stands for the counts of instructions.
const COUNTS: &str = "instructions";

pub(crate) fn run(args: Args) -> Result {
    let workspace = Workspace::load()?;
    let mut stages = Stages::default();
    if args.filter.is_empty() {
        for (name, command) in GENERATED {
            stages.run(name, || run_command(&mut cargo(&workspace.root, command)));
        }
    }
    if args.filter.is_empty() || args.filter == [COUNTS] {
        if VALGRIND.is_installed() {
            stages.run(COUNTS, || instructions::bless(&workspace));
        } else {
            stages.skip(COUNTS, format!("valgrind is not installed; {}", VALGRIND.install));
        }
    }
    if args.filter != [COUNTS] {
        stages.run("snapshots", || run_command(rust_tests(&workspace, &args.filter).env("UPDATE_EXPECT", "1")));
    }
    stages.finish()
}
