//! `cargo xtask e2e prepare`: what the others bring along, ahead of time.

use crate::failure::Result;
use crate::vllm;
use crate::workspace::Workspace;

/// The environments of vLLM (2.2 GB), and of JAX and SGLang (0.6 GB), and the model: what the others make when they need it.
///
/// Nothing where they are there. For whoever has something else to do meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run() -> Result {
    let workspace = Workspace::load()?;
    vllm::environment(&workspace)?;
    vllm::frameworks(&workspace)?;
    Ok(())
}
