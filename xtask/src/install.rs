//! `cargo xtask install`: what this machine lacks; does it where it can, and says it where it cannot.

use std::process::Command;

use crate::failure::{Failure, Result};
use crate::python;
use crate::run::run as run_command;
use crate::tools::{self, find};
use crate::vllm;
use crate::workspace::Workspace;

/// What this machine lacks: does it, or says how.
///
/// Makes the Python environment of the tests, and says in one line each how to get the tools that are used where they
/// are installed; none of those is required. Half a minute the first time, a second after that.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also let git run `.githooks/pre-commit` in this checkout (formatting and lints of what is staged)
    #[arg(long)]
    hooks: bool,
    /// Also make the environment of real vLLM on this machine's CPU: about two minutes, 2.2 GB in the user's cache folder
    #[arg(long)]
    vllm: bool,
}

/// What nothing works without.
const REQUIRED: [(&str, &str); 2] = [("cc", "a C compiler"), ("python3", "Python 3.11 or later")];

pub(crate) fn run(args: Args) -> Result {
    let workspace = Workspace::load()?;
    let missing: Vec<_> = REQUIRED.iter().filter(|(program, _)| find(program).is_none()).collect();
    if let [(program, what), ..] = missing.as_slice() {
        return Err(Failure::new(format!("{program} ({what}) is not installed: your system's package manager has it")));
    }
    let python = python::environment(&workspace)?;
    println!("{:14} {}", "python", python.display());
    if args.vllm {
        let vllm = vllm::environment(&workspace)?;
        println!("{:14} {}", "vllm", vllm.python.display());
        println!("{:14} {}", "vllm model", vllm.model.display());
        for (name, folder) in &vllm.loras {
            println!("{:14} {name}: {}", "vllm adapter", folder.display());
        }
    }
    for tool in tools::ALL {
        if tool.is_installed() {
            println!("{:14} installed: {}", tool.program, tool.gives);
        } else {
            println!("{:14} not installed, not required: {} ({})", tool.program, tool.gives, tool.install);
        }
    }
    if args.hooks {
        if !workspace.root.join(".git").exists() {
            return Err(Failure::new("this is not a git checkout: there is nothing to hook into"));
        }
        let mut git = Command::new("git");
        run_command(git.current_dir(&workspace.root).args(["config", "core.hooksPath", ".githooks"]))?;
        println!("{:14} .githooks/pre-commit runs before each commit", "hooks");
    }
    Ok(())
}
