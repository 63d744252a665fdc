//! The program `llmd-gateway`: reads its arguments, starts a gateway, and drains it when told to stop.

mod args;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use llmd_core::{Error, ErrorKind, Result};
use llmd_gateway::{Endpoints, Gateway, RunningGateway, Settings};
use llmd_routing::EndpointPickerConfig;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::Args;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "llmd-gateway: {error}");
            match error.kind() {
                ErrorKind::Invalid | ErrorKind::Unsupported => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(args: Args) -> Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("--log {:?} is no filter: {error}", args.log)))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "no threads can be started").with_source(error))?;
    runtime.block_on(async {
        let running = start(args).await?;
        announce(&running)?;
        stopped().await?;
        tokio::select! {
            () = running.shutdown() => Ok(()),
            again = stopped() => again,
        }
    })
}

async fn start(args: Args) -> Result<RunningGateway> {
    let mut settings = match &args.settings {
        Some(path) => in_file(path, Settings::from_yaml)?,
        None => Settings::default(),
    };
    settings.debug |= args.debug;
    settings.seed = args.seed.or(settings.seed);
    let mut builder = Gateway::builder(settings)
        .allow_experimental_plugins(args.allow_experimental_plugins)
        .endpoints(Endpoints::File(args.endpoints))
        .listen(args.listen);
    if let Some(path) = &args.config {
        let config = in_file(path, EndpointPickerConfig::from_yaml)?;
        builder = builder.config(config).config_name(path.display().to_string());
    }
    builder.start().await
}

/// Reads a file, and puts its name before whatever is wrong with it.
fn in_file<T>(path: &Path, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let named = |kind, error: &dyn std::fmt::Display| Error::new(kind, format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| named(ErrorKind::Unavailable, &format_args!("cannot be read: {error}")))?;
    read(&text).map_err(|error| named(error.kind(), &error))
}

/// The one line on standard output.
fn announce(running: &RunningGateway) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::json!({"listening": running.local_addr().to_string()}))
        .and_then(|()| out.flush())
        .map_err(|error| Error::new(ErrorKind::Unavailable, "standard output is closed").with_source(error))
}

/// Waits until somebody asks the program to stop.
async fn stopped() -> Result<()> {
    let wait = |kind| signal(kind).map_err(|error| Error::new(ErrorKind::Internal, "no signals").with_source(error));
    let (mut terminate, mut interrupt) = (wait(SignalKind::terminate())?, wait(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    Ok(())
}
