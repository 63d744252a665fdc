//! `cargo xtask demo`: builds what the demo runs, says how long that took, and becomes the demo.

mod build;
mod engines;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::not_started;
use crate::vllm;
use crate::workspace::Workspace;
use engines::Engines;

/// The main job from end to end, on this machine.
///
/// A fleet of simulated engines, a race of routing policies over it, faults, and why a decision was made. Builds the
/// release binaries first (about three minutes on two cores from nothing), then runs for about two minutes.
/// Ctrl-C ends everything that was started.
///
/// With `--engines vllm` the engines are real: two of vLLM with a tiny model, on this machine's CPU. Its environment is
/// made on first use, in the user's cache folder (about two minutes, 2.2 GB); the engines take a minute to start, and more
/// where the machine has other things to do.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// About half a minute, for CI: fewer requests, the same promises
    #[arg(long)]
    short: bool,
    /// How much faster than real time the engines run
    #[arg(long)]
    speed: Option<f64>,
    /// How many engines the fleet has, or the word `vllm` for real ones
    #[arg(long, value_name = "N|vllm")]
    engines: Option<Engines>,
    /// Everything random is drawn from this
    #[arg(long)]
    seed: Option<u64>,
    /// A trace in Mooncake's format, in place of the one in the checkout
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Leave the last fleet and its gateway up until Ctrl-C, and print a curl that works
    #[arg(long)]
    keep: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Where tables and pictures go; by default `demo` in cargo's target folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json (<policy> is round_robin, session_hash, least_load, approx_prefix or exact_prefix):
  requests, failed_requests                     of the race, all policies
  ttft_mean_ms.<policy>, ttft_p90_ms.<policy>   time to first token, engine time (wall x speed), seen by the client
  throughput_tok_s.<policy>                     input and output tokens per second of engine time
  hit_rate.<policy>                             cached tokens per prompt token, as engines report them
  hit_prediction_error_tokens.<policy>          mean per request, predicted against reported
  hit_prediction_error_quiet                    the same, 100 requests one at a time, events drained
  decision_us.p50, decision_us.p99              what one decision takes
  fault.failed_before_first_byte, fault.cut_streams, fault.index_wrong_blocks, fault.recovery_ms
  cold_build_s                                  the release build from nothing; of the last such build here when this
                                                one was warm, and absent when none is known
With --engines vllm the policies are round_robin and exact_prefix, times are wall time, there is no
fault.index_wrong_blocks, and there is also:
  quiet.requests, quiet.exact_multiples         how many, and how many of those fill their last block
  quiet.lora, quiet.salted                      how many name an adapter, how many carry a cache salt
  fault.prediction_error_after                  mean tokens, predicted against reported, once the faults are over
  engine_start_s                                from starting the engines until both serve

Exit code: 0; 1 when something could not start or a promise was not kept; 2 for a wrong command line;
130 after Ctrl-C.";

pub(crate) fn run(args: Args) -> Result {
    let workspace = Workspace::load()?;
    // Before the build, not beside it: a build that shares the machine would say too much of `cold_build_s`.
    let vllm = match args.engines {
        Some(Engines::Vllm) => Some(vllm::environment(&workspace)?),
        Some(Engines::Simulated(_)) | None => None,
    };
    let built = build::release_binaries(&workspace)?;
    let remembered = workspace.target.join("xtask").join("cold_build_s");
    let cold_build = if built.is_cold() {
        fs::create_dir_all(workspace.target.join("xtask"))
            .or_fail(|| "cannot write to cargo's target folder".into())?;
        fs::write(&remembered, format!("{:.1}\n", built.took.as_secs_f64()))
            .or_fail(|| format!("cannot write {}", remembered.display()))?;
        Some(built.took.as_secs_f64())
    } else {
        fs::read_to_string(&remembered).ok().and_then(|seconds| seconds.trim().parse().ok())
    };
    eprintln!("{built}{}", if built.is_cold() { String::new() } else { said_before(cold_build) });

    let program = built.executable("llmd-demo").ok_or_else(|| Failure::new("cargo built no llmd-demo"))?;
    let bin_dir = program.parent().ok_or_else(|| Failure::new("llmd-demo lies nowhere"))?;
    let out = args.out.clone().unwrap_or_else(|| workspace.target.join("demo"));
    let mut demo = Command::new(program);
    demo.arg("--bin-dir").arg(bin_dir).arg("--out").arg(out).args(args.passed_on());
    demo.args(vllm.into_iter().flat_map(engines::options));
    if let Some(seconds) = cold_build {
        demo.args(["--cold-build-s", &format!("{seconds:.1}")]);
    }
    // The demo takes the place of this program, so that Ctrl-C and the exit code are the demo's own.
    let error = demo.exec();
    Err(not_started(&demo, &error))
}

fn said_before(cold_build: Option<f64>) -> String {
    match cold_build {
        Some(seconds) => format!("; the last cold build here took {seconds:.1} s"),
        None => "; cold_build_s is not known, since nothing was built from nothing".to_owned(),
    }
}

impl Args {
    fn passed_on(self) -> Vec<OsString> {
        let flags = [(self.short, "--short"), (self.keep, "--keep")];
        let mut words: Vec<_> = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.into()).collect();
        let options: [(&str, Option<OsString>); 5] = [
            ("--speed", self.speed.map(|value| value.to_string().into())),
            ("--engines", self.engines.map(|value| value.word().into())),
            ("--seed", self.seed.map(|value| value.to_string().into())),
            ("--trace", self.trace.map(PathBuf::into_os_string)),
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
            short: true,
            speed: Some(25.0),
            engines: Some(Engines::Vllm),
            seed: Some(7),
            trace: None,
            keep: false,
            json: Some("figures.json".into()),
            out: None,
        };

        assert_eq!(
            args.passed_on(),
            ["--short", "--speed", "25", "--engines", "vllm", "--seed", "7", "--json", "figures.json"]
        );
    }
}
