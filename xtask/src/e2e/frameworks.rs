//! `cargo xtask e2e frameworks`: the wheel beside JAX and SGLang, whose packages are too large for the other tests.

use std::process::Command;

use crate::failure::Result;
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;
use crate::{extension, vllm};

/// The wheel beside JAX, whose arrays it lends and fills, and SGLang, whose storage interface it is driven by.
///
/// Makes the environments itself (vLLM's, 2.2 GB, for its torch; theirs, 0.6 GB). Seconds once they are there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Tests that are skipped where their packages are not.
const TESTS: [&str; 2] = ["llmd-py/tests/test_jax.py", "llmd-py/tests/test_sglang.py"];
/// What must not be missing here.
const IMPORTS: &str = "import jax, torch, sglang.srt.mem_cache.hicache_storage";

pub(crate) fn run() -> Result {
    let workspace = Workspace::load()?;
    let (vllm, packages) = (vllm::environment(&workspace)?, vllm::frameworks(&workspace)?);
    run_command(&mut cargo(&workspace.root, ["build", "--release", "--package", "llmd-py"]))?;
    let path = format!("{}:{}", extension::stage_released(&workspace)?.display(), packages.display());
    let python = || {
        let mut command = Command::new(&vllm.python);
        command
            .current_dir(&workspace.root)
            .env("PYTHONPATH", &path)
            .env("SGLANG", &packages)
            .env("JAX_PLATFORMS", "cpu");
        command
    };
    run_command(python().args(["-c", IMPORTS]))?;
    run_command(python().args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).args(TESTS))
}
