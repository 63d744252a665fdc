//! The program `llmd-gateway`: reads its arguments, starts a gateway, and drains it when told to stop.

mod args;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use clap::Parser as _;
use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::EndpointPickerConfig;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use self::args::Args;
use crate::{Endpoints, Gateway, RunningGateway, Settings};

/// Runs the program to its end, and gives its exit code: 0 when it was told to stop, or printed help; 1 when it cannot do
/// its work; 2 when what it was told is wrong.
///
/// `args` are the arguments, the first of which is the name by which it was called. It makes a runtime of its own, handles
/// SIGTERM and SIGINT from then on, and logs to standard error unless the process logs elsewhere already.
///
/// # Panics
///
/// When it is called from a tokio runtime.
pub fn run<A: Into<OsString> + Clone>(args: impl IntoIterator<Item = A>) -> u8 {
    let ended = match Args::try_parse_from(args) {
        Ok(args) => work(args),
        Err(told) => {
            // Where nobody listens, the exit code has to do.
            let _ = told.print();
            return u8::try_from(told.exit_code()).unwrap_or(2);
        }
    };
    let Err(error) = ended else { return 0 };
    let _ = writeln!(std::io::stderr(), "llmd-gateway: {error}");
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Unsupported => 2,
        _ => 1,
    }
}

fn work(args: Args) -> Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("--log {:?} is no filter: {error}", args.log)))?;
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // A process that has chosen where its logs go keeps to it.
    let _ = tracing::subscriber::set_global_default(logs.finish());
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
    settings.disaggregation.connector = args.kv_connector.or(settings.disaggregation.connector);
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
