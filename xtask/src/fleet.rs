//! `cargo xtask fleet`: builds the fleet in virtual time, and becomes it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Result;
use crate::run::{cargo, not_started, run as run_command};
use crate::workspace::Workspace;

const BUILD: [&str; 6] = ["build", "--release", "--package", "llmd-fleet", "--bin", "llmd-fleet"];

/// Policies of scheduling, judged by a fleet of simulated engines in virtual time.
///
/// With --validate, llm-d's published tables beside what the simulation makes of the same loads (a quarter of a minute
/// for each seed on two cores). With --policies, any configurations of llm-d's endpoint picker beside each other, on the same seeds.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Hold the simulation to llm-d's published tables
    #[arg(long, conflicts_with = "policies")]
    validate: bool,
    /// Configurations to compare, by comma: files, or names of those that come with the fleet
    #[arg(long, value_name = "YAML,...")]
    policies: Option<String>,
    /// Scenarios, by comma; `ours`, `all`, or NAME:ARM for the fleet of an arm
    #[arg(long, value_name = "NAME,...")]
    scenario: Option<String>,
    /// A trace in Mooncake's format, in place of a scenario
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// How many seeds each policy is given
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed, for --policies: a policy is best chosen on other seeds than it is shown on
    #[arg(long, value_name = "N")]
    first_seed: Option<u64>,
    /// A minute at most, for CI: the tables that have tolerances
    #[arg(long)]
    short: bool,
    /// List scenarios and policies
    #[arg(long)]
    list: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Where the picture goes; by default `fleet` in cargo's target folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json of --validate, means over the seeds:
  out_tok_s.<arm>               ladder_a, ladder_b, k8s_a, k8s: mean of 16 stages; <arm>.at_<rate> for each stage
  total_tok_s.<arm>_<rate>      tiered_hbm, tiered_cpu at 5, 10, 20 and 40 requests/s
  out_tok_s.capacity_73.<arm>, out_tok_s.capacity_37.<arm>
                                precise, approximate, load, random
  out_tok_s.gpt_oss.<arm>       affinity, k8s
  requests_per_s.p2p_uniform.<arm>, requests_per_s.p2p_hot.<arm>
                                affinity, load, load_p2p: mean of the stages; <arm>.at_<rate> for each stage
  ttft_mean_s.<arm>             where it was published
  difference_percent.<figure>   from what was published
  rank_order.<table>            1 when the policies come in the order in which they were published
  llmd_default.gain_percent.<scenario>, llmd_default.gain_interval.<scenario>
                                of llmd's default over the best of llm-d's, on the same seeds from 101; half its 95 % interval
  llmd_default.over_round_robin_percent.<scenario>, llmd_default.ladder_a
                                its gain over round robin, and what it does on ladder A
  requests_per_minute           simulated in a minute of one processor
And of --policies:
  objective.<measure>.<scenario>.<policy>, gain_percent.<scenario>.<policy>, gain_interval.<scenario>.<policy>
                                what policies are compared by; the gain over the first, and half its 95 % interval
  gain_percent.all.<policy>     the geometric mean of the gains
  out_tok_s, ttft_mean_s, ttft_p50_s, ttft_p90_s, ttft_p99_s, e2e_mean_s, hit_rate, each .<scenario>.<policy>

Exit code: 0; 1 when something failed or a figure is out of tolerance; 2 for a wrong command line.";

pub(crate) fn run(args: Args) -> Result {
    let workspace = Workspace::load()?;
    run_command(&mut cargo(&workspace.root, BUILD))?;
    let mut fleet = Command::new(workspace.target.join("release").join("llmd-fleet"));
    let out = args.out.clone().unwrap_or_else(|| workspace.target.join("fleet"));
    fleet.arg("--out").arg(out).args(args.passed_on());
    // It takes the place of this program, so that Ctrl-C and the exit code are its own.
    let error = fleet.exec();
    Err(not_started(&fleet, &error))
}

impl Args {
    fn passed_on(self) -> Vec<OsString> {
        let flags = [(self.validate, "--validate"), (self.short, "--short"), (self.list, "--list")];
        let mut words: Vec<_> = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.into()).collect();
        let options: [(&str, Option<OsString>); 6] = [
            ("--policies", self.policies.map(Into::into)),
            ("--scenario", self.scenario.map(Into::into)),
            ("--trace", self.trace.map(PathBuf::into_os_string)),
            ("--seeds", self.seeds.map(|value| value.to_string().into())),
            ("--first-seed", self.first_seed.map(|value| value.to_string().into())),
            ("--json", self.json.map(PathBuf::into_os_string)),
        ];
        for (name, value) in options {
            words.extend(value.into_iter().flat_map(|value| [OsString::from(name), value]));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_passed_on_and_nothing_else() {
        let args = Args {
            validate: true,
            policies: None,
            scenario: Some("ladder-a,k8s".into()),
            trace: None,
            seeds: Some(3),
            first_seed: None,
            short: false,
            list: false,
            json: Some("figures.json".into()),
            out: None,
        };

        assert_eq!(
            args.passed_on(),
            ["--validate", "--scenario", "ladder-a,k8s", "--seeds", "3", "--json", "figures.json"]
        );
    }
}
