//! `cargo xtask nixl`: NIXL peers beside NIXL's own agents, and our transport over NIXL.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, OrFail as _, Result};
use crate::kept;
use crate::python::{self, Base, pip};
use crate::run::{capture, cargo, run as run_command};
use crate::stages::Stages;
use crate::workspace::Workspace;

/// NIXL peers beside NIXL's own agents.
///
/// Runs the tests of `llmd-kvxfer`'s feature `nixl` against agents in Python, and those of its transport over NIXL between agents of ours,
/// over each path that a machine without special hardware has: the same host, and TCP. NIXL's wheel and numpy (0.1 GB to download, 0.4 GB on disk) are installed on first use, from a pinned list,
/// in the user's cache folder. Some minutes once that is there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose names contain one of these
    filter: Vec<String>,
}

/// What the environment holds, with versions.
const REQUIREMENTS: &str = "llmd-kvxfer/tests/nixl/requirements.txt";

/// What a peer begins by importing: it says whether a package is missing.
const IMPORTS: &str = "import numpy, nixl._api";

/// Names of the paths, and what makes UCX take them.
const PATHS: [(&str, &str); 2] = [("the same host", "all"), ("TCP", "tcp")];

/// What keeps from the terminal the errors that the tests bring about, unless somebody wants to see them.
const QUIET: [(&str, &str); 2] = [("NIXL_LOG_LEVEL", "FATAL"), ("UCX_LOG_LEVEL", "fatal")];

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let python = environment(&workspace)?;
    let ask = "import sysconfig; print(sysconfig.get_path('platlib'))";
    let packages = capture(Command::new(&python).args(["-c", ask]))?;
    let mut stages = Stages::default();
    for (name, transports) in PATHS {
        stages.run(format!("NIXL over {name}"), || {
            let mut tests = cargo(&workspace.root, ["test", "--package", "llmd-kvxfer", "--features", "nixl,testing"]);
            tests.args(["--test", "nixl", "--test", "nixl_transport"]);
            tests.args(["--", "--ignored", "--nocapture", "--test-threads", "1"]).args(&args.filter);
            tests.env("LLMD_NIXL_PYTHON", &python).env("LLMD_NIXL_LIBRARY", &packages).env("UCX_TLS", transports);
            tests.envs(QUIET.into_iter().filter(|(variable, _)| env::var_os(variable).is_none()));
            run_command(&mut tests)
        });
    }
    stages.finish()
}

/// The Python that has NIXL.
fn environment(workspace: &Workspace) -> Result<PathBuf> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::new("NIXL is published for Linux only"));
    }
    let list = workspace.root.join(REQUIREMENTS);
    let pinned = fs::read(&list).or_fail(|| format!("cannot read {}", list.display()))?;
    let base = Base::find()?;
    let sources = [base.version.as_bytes(), &pinned, IMPORTS.as_bytes()];
    let folder = kept::folder("nixl", &sources, python::PROGRAM, |folder| {
        let python = base.environment(folder)?;
        run_command(pip(&python).arg("--no-deps").arg("--requirement").arg(&list))?;
        run_command(Command::new(&python).args(["-c", IMPORTS]))
            .or_fail(|| "the environment is complete, but NIXL does not load".into())
    })?;
    Ok(folder.join(python::PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::pins;

    #[test]
    fn every_line_of_the_list_pins_a_version() {
        let text = fs::read_to_string(Workspace::load().unwrap().root.join(REQUIREMENTS)).unwrap();
        let pins = pins(&text);

        assert!(pins.iter().any(|pin| pin.starts_with("nixl-cu12==")));
        assert!(pins.iter().all(|line| line.contains("==")), "{pins:?}");
    }
}
