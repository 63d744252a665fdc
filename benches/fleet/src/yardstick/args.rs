//! The command line.

use std::path::PathBuf;

/// Policies of scheduling, judged by a fleet of simulated engines in virtual time.
///
/// With --validate, llm-d's published tables beside what the simulation makes of the same loads. With --policies, any
/// configurations of llm-d's endpoint picker beside each other.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "llmd-fleet", after_help = SCENARIOS)]
pub struct Args {
    /// Hold the simulation to llm-d's published tables
    #[arg(long, conflicts_with = "policies")]
    pub validate: bool,
    /// Configurations to compare, by comma: files, or names of those that come with the fleet
    #[arg(long, value_delimiter = ',', value_name = "YAML,...", required_unless_present_any = ["validate", "list"])]
    pub policies: Vec<String>,
    /// Scenarios, by comma; `ours` is those that were never published, `all` is all; NAME:ARM has the fleet of that arm of a
    /// published table, such as tiered:tiered_hbm
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub scenario: Vec<String>,
    /// A trace in Mooncake's format, in place of a scenario
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "validate"])]
    pub trace: Option<PathBuf>,
    /// How many seeds each policy is given
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub seeds: u64,
    /// The first seed, for --policies: a policy is best chosen on other seeds than it is shown on
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "validate")]
    pub first_seed: u64,
    /// A minute at most, for CI: fewer stages, and an exit code of 1 when a figure is out of tolerance
    #[arg(long)]
    pub short: bool,
    /// List scenarios and policies
    #[arg(long)]
    pub list: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Where the picture goes
    #[arg(long, value_name = "DIR", default_value = "target/fleet")]
    pub out: PathBuf,
}

const SCENARIOS: &str = "\
Scenarios of published tables: ladder-a, ladder-b, k8s, tiered, capacity-73, capacity-37, gpt-oss, p2p-uniform, p2p-hot.
Ours: burst, agentic, heterogeneous, stale-metrics, lost-events, dying-engines, many-routers.
Exit code: 0; 1 when something failed or a figure is out of tolerance; 2 for a wrong command line.";
