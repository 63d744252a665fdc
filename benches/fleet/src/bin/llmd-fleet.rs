//! A fleet in virtual time. `llmd-fleet --help` says how to use it; [`llmd_fleet::yardstick`] says what it does.

use std::process::ExitCode;

use clap::Parser as _;
use llmd_fleet::yardstick::{Args, run};

fn main() -> ExitCode {
    run(&Args::parse())
}
