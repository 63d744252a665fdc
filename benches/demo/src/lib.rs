//! The main job from end to end: a fleet, a race of routing policies, faults, and why.
//!
//! The demo starts [simulated engines](llmd_fleet) and llmd's gateway as processes of their own, sends them the requests
//! of a published trace over HTTP, and sees what a client sees. It drives nothing from the inside: whatever it knows, the
//! processes said over HTTP. With real engines of vLLM it asks their replay sockets too.

mod args;
mod blocks;
mod client;
mod clock;
mod console;
mod fault;
mod fleet;
mod gateway;
mod http;
mod index;
mod moved;
mod policy;
mod quiet;
mod race;
mod real;
mod report;
mod show;
mod stage;
mod stats;
mod trace;
mod wait;
mod why;
mod workload;

use std::process::ExitCode;

use llmd_core::{Error, ErrorKind, Result};
use tokio::signal::unix::{SignalKind, signal};

pub use args::{Args, Engines};
pub use blocks::{LEND, lend};
pub use real::{Adapter, VllmArgs};

use clock::Clock;
use console::Console;
use show::Ending;

/// The exit code after Ctrl-C, as shells expect it.
const INTERRUPTED: u8 = 130;

/// Runs the demo and says how it went: 0; 1 when something could not start or a promise was not kept; 2 when the command
/// line makes no sense; 130 after Ctrl-C. Whatever was started is ended by then.
pub fn run(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::new(ErrorKind::Unavailable, format!("cannot start threads: {error}"))),
    };
    // Processes belong to the futures: whichever branch wins, the other is dropped, and with it what it had started.
    runtime.block_on(async {
        tokio::select! {
            ended = demo(args) => ended.unwrap_or_else(|error| fail(&error)),
            interrupted = interruption() => match interrupted {
                Ok(()) => ExitCode::from(INTERRUPTED),
                Err(error) => fail(&error),
            },
        }
    })
}

async fn demo(args: &Args) -> Result<ExitCode> {
    let console = Console::detect();
    match args.engines {
        Engines::Simulated(engines) => {
            conclude(args, console, show::run(args, engines, Clock::start(), console).await?).await
        }
        Engines::Vllm => conclude(args, console, real::run(args, Clock::start(), console).await?).await,
    }
}

/// Says which promises were not kept, and leaves everything up when that was asked for.
async fn conclude<S>(args: &Args, console: Console, ending: Ending<S>) -> Result<ExitCode> {
    let Ending { broken, gateway, scene } = ending;
    broken.iter().for_each(|line| console.alarm(&format!("  NOT AS PROMISED: {line}")));
    if args.keep {
        console.say(curl(&gateway));
        std::future::pending::<()>().await;
    }
    drop(scene);
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How to talk to a gateway that was left up.
fn curl(gateway: &str) -> String {
    format!(
        "\n  The fleet stays up until Ctrl-C. Ask it something:\n\n    curl -i {gateway}/v1/completions -H 'content-type: \
         application/json' \\\n      -d '{{\"model\": \"{}\", \"prompt\": \"once upon a time\", \"max_tokens\": 16}}'\n\n  and \
         it says in x-llmd-* headers which engine answered. More: {gateway}/debug/index, {gateway}/metrics.",
        workload::MODEL
    )
}

/// Waits for Ctrl-C, or for a request to end.
async fn interruption() -> Result<()> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::new(ErrorKind::Unavailable, "cannot listen for signals").with_source(error))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn fail(error: &Error) -> ExitCode {
    Console::error(&http::with_causes(error));
    ExitCode::from(if error.kind() == ErrorKind::Invalid { 2 } else { 1 })
}
