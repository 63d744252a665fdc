//! `llmd-demo`: a fleet of simulated engines, a race of routing policies, faults, and why.

use std::process::ExitCode;

use clap::Parser;
use llmd_demo::Args;

fn main() -> ExitCode {
    llmd_demo::run(&Args::parse())
}
