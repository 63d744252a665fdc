//! Every command a person or CI runs: `cargo xtask <command> --help` says what each does and how long it takes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program on the command line talks to its user")]

mod bench;
mod bless;
mod check;
mod demo;
mod doc;
mod e2e;
mod extension;
mod failure;
mod fleet;
mod fuzz;
mod install;
mod install_c;
mod instructions;
mod kept;
mod loom;
mod machine;
mod nixl;
mod python;
mod run;
mod stages;
mod stopwatch;
mod test;
mod tools;
mod types;
mod vllm;
mod wheel;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every command a person or CI runs. A machine that has cargo, python3 and a C compiler needs nothing else.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Fleet(fleet::Args),
    Test(test::Args),
    Check(check::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
    Loom(loom::Args),
    Nixl(nixl::Args),
    E2e(e2e::Args),
    Doc(doc::Args),
    Wheel(wheel::Args),
    Bless(bless::Args),
    Install(install::Args),
    InstallC(install_c::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Test(args) => test::run(args),
        Command::Check(args) => check::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Loom(args) => loom::run(&args),
        Command::Nixl(args) => nixl::run(&args),
        Command::E2e(args) => e2e::run(&args),
        Command::Doc(args) => doc::run(args),
        Command::Wheel(args) => wheel::run(&args),
        Command::Bless(args) => bless::run(args),
        Command::Install(args) => install::run(args),
        Command::InstallC(args) => install_c::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
