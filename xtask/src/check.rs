//! `cargo xtask check`: what a reviewer should not have to look for.

use crate::failure::Result;
use crate::run::{cargo, run as run_command};
use crate::stages::Stages;
use crate::test::EVERYTHING;
use crate::tools::{DENY, VALGRIND};
use crate::workspace::Workspace;
use crate::{instructions, python, types};

/// What a reviewer should not have to look for.
///
/// Formatting, lints, floors, Python's types, the manual, each feature by itself, instructions of the hot paths where
/// valgrind is installed, and licences where cargo-deny is. About four minutes on two cores from nothing, a minute once built. Every stage runs, whatever failed before.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The crates that others embed: each of their features must stand alone.
const EMBEDDED: [&str; 3] = ["llmd-core", "llmd-kvxfer", "llmd-routing"];

pub(crate) fn run(Args {}: Args) -> Result {
    let workspace = Workspace::load()?;
    let root = &workspace.root;
    let mut stages = Stages::default();
    stages.run("format", || run_command(&mut cargo(root, ["fmt", "--all", "--check"])));
    stages
        .run("format of the peers' bench", || run_command(&mut cargo(&root.join("benches/peers"), ["fmt", "--check"])));
    stages.run("what links CUDA", || {
        let manifest = ["--manifest-path", "llmd-kvxfer/rustacuda/Cargo.toml"];
        run_command(&mut cargo(root, ["fmt", "--check"].into_iter().chain(manifest)))?;
        let lints = cargo(root, ["clippy"].into_iter().chain(manifest).chain(["--target-dir", "target/rustacuda"]));
        run_command({ lints }.args(["--", "-D", "warnings"]))
    });
    stages.run("lints", || {
        run_command(cargo(root, ["clippy"]).args(EVERYTHING).args(["--all-targets", "--", "-D", "warnings"]))
    });
    stages.run("floors", || {
        run_command(cargo(root, ["test"]).args(EVERYTHING).args(["--quiet", "--test", "floors", "--test", "house"]))
    });
    stages.run("python types", || types::check(&workspace, &python::environment(&workspace)?));
    stages.run("manual", || crate::doc::build(&workspace, false));
    for package in EMBEDDED {
        stages.run(format!("features of {package}"), || each_feature(&workspace, package));
    }
    if VALGRIND.is_installed() {
        stages.run("instructions", || instructions::check(&workspace));
    } else {
        stages.skip("instructions", format!("valgrind is not installed; {}", VALGRIND.install));
    }
    if DENY.is_installed() {
        stages.run("licences and sources", || {
            run_command(&mut cargo(root, ["deny", "--workspace", "--all-features", "check"]))
        });
    } else {
        stages.skip("licences and sources", format!("cargo-deny is not installed; `{}`", DENY.install));
    }
    stages.finish()
}

fn each_feature(workspace: &Workspace, package: &str) -> Result {
    let alone = ["check", "--quiet", "--package", package, "--no-default-features"];
    run_command(&mut cargo(&workspace.root, alone))?;
    for feature in workspace.features(package) {
        run_command(cargo(&workspace.root, alone).args(["--features", feature]))?;
    }
    Ok(())
}
