//! `cargo xtask e2e`: whole programs at work while whatever can break is broken.

mod frameworks;
mod gpu;
mod prepare;
mod vllm;
mod xfer;

use clap::Subcommand;

use crate::failure::Result;

/// Whole programs at work while whatever can break is broken
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Frameworks(frameworks::Args),
    Gpu(gpu::Args),
    Prepare(prepare::Args),
    Vllm(vllm::Args),
    Xfer(xfer::Args),
}

pub(crate) fn run(args: &Args) -> Result {
    match &args.what {
        What::Frameworks(_) => frameworks::run(),
        What::Gpu(args) => gpu::run(args),
        What::Prepare(_) => prepare::run(),
        What::Vllm(args) => vllm::run(args),
        What::Xfer(args) => xfer::run(args),
    }
}
