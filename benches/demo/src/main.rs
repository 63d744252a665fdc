//! `llmd-demo`: a fleet of simulated engines, a race of routing policies, faults, and why.

use std::process::ExitCode;

use clap::Parser;
use llmd_demo::Args;

fn main() -> ExitCode {
    // The demo starts itself once more, as the process that lends blocks.
    if std::env::args_os().nth(1).is_some_and(|first| first == llmd_demo::LEND) {
        return llmd_demo::lend();
    }
    llmd_demo::run(&Args::parse())
}
