//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// An OpenAI-shaped gateway that sends each request to the engine whose cache suits it best.
///
/// When it is ready it prints one line of JSON on standard output, as in {"listening":"127.0.0.1:8080"}. Logs go to
/// standard error. SIGTERM and SIGINT drain it: requests that have begun may end, then it exits with 0; a second
/// one ends it at once. It exits with 1
/// when it cannot do its work (the address is taken, a file cannot be read), and with 2 when what it was told is wrong
/// (arguments, YAML).
#[derive(Debug, Parser)]
#[command(name = "llmd-gateway", version)]
pub(super) struct Args {
    /// An EndpointPickerConfig (YAML): the plugins that choose endpoints. Without it, llm-d's default.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The endpoints (YAML or JSON, llm-d's file-discovery format). May change while the gateway runs.
    #[arg(long, value_name = "FILE")]
    pub(super) endpoints: PathBuf,
    /// Time-outs, bounds and intervals (YAML), where the defaults do not suit.
    #[arg(long, value_name = "FILE")]
    pub(super) settings: Option<PathBuf>,
    /// Where to take requests. Port 0 is any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Serves /debug/… and adds x-llmd-… headers to responses. They tell what is cached: for trusted clients only.
    #[arg(long)]
    pub(super) debug: bool,
    /// Takes plugins that llm-d calls Alpha, too.
    #[arg(long)]
    pub(super) allow_experimental_plugins: bool,
    /// Has requests prefilled and then decoded itself, by this connector; without it, sidecars do.
    #[arg(long, value_name = "NAME")]
    pub(super) kv_connector: Option<String>,
    /// Makes every random choice repeatable.
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// What to log: a level, or tracing's directives.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(super) log: String,
}
