//! The program `llmd-gateway`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(llmd_gateway::program::run(std::env::args_os()))
}
