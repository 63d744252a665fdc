//! One simulated engine. `llmd-engine --help` says how to start it; [`llmd_fleet::serve`] says what it does.

use std::process::ExitCode;

use clap::Parser as _;
use llmd_fleet::serve::{Args, run};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    run(Args::parse())
}
