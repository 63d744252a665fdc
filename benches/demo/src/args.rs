//! What the command line says, and what follows from it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use llmd_core::{Error, ErrorKind, Result};

use crate::real::VllmArgs;

/// Races seven routing policies over a fleet of simulated engines, breaks things, moves blocks, and says why.
///
/// Everything runs on this machine; no GPU and no network beyond 127.0.0.1 are needed. Takes about two minutes, with
/// `--short` about half a minute. With `--engines vllm` the engines are two real ones of vLLM on this machine's processor, and the
/// whole takes some minutes.
#[derive(Clone, Debug, Parser)]
#[command(name = "llmd-demo", version, after_help = FIGURES)]
#[non_exhaustive]
pub struct Args {
    /// Run a small part of the trace, for CI.
    #[arg(long)]
    pub short: bool,
    /// How much faster than real time the engines run.
    #[arg(long, default_value_t = 35.0)]
    pub speed: f64,
    /// How many simulated engines the fleet has, or `vllm` for two real ones.
    #[arg(long, default_value = "4", value_name = "N|vllm")]
    pub engines: Engines,
    /// Where vLLM is, for `--engines vllm`.
    #[command(flatten)]
    pub vllm: VllmArgs,
    /// Everything random is drawn from this.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// A trace in Mooncake's format, in place of the first 1,500 requests of its conversation trace.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Leave the last fleet and its gateway up until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Write the figures to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the table, the picture and the figures go.
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    pub out: PathBuf,
    /// Where `llmd-engine` and `llmd-gateway` are; by default beside this program.
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// How long the build took, to be written among the figures.
    #[arg(long, value_name = "SECONDS")]
    pub cold_build_s: Option<f64>,
}

/// Which engines the demo runs on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the program covers every kind of engine")]
pub enum Engines {
    /// So many simulated ones.
    Simulated(usize),
    /// Two of vLLM.
    Vllm,
}

impl FromStr for Engines {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "vllm" => Ok(Self::Vllm),
            _ => text.parse().map(Self::Simulated).map_err(|_| invalid("expected a number, or vllm".to_owned())),
        }
    }
}

const FIGURES: &str = "\
Figures in --json (<policy> is round_robin, session_hash, least_load, approx_prefix, exact_prefix, exact_prefix_pd
or exact_prefix_pd_always):
  requests, failed_requests, ttft_mean_ms.<policy>, ttft_p90_ms.<policy>, throughput_tok_s.<policy>, hit_rate.<policy>,
  hit_prediction_error_tokens.<policy>, hit_prediction_error_quiet, decision_us.p50, decision_us.p99,
  fault.failed_before_first_byte, fault.cut_streams, fault.index_wrong_blocks, fault.recovery_ms, cold_build_s,
  blocks.verified, blocks.corrupt_served, bytes_moved, move_blocks.gbps, move_blocks.ratio_to_limit
With --engines vllm <policy> is round_robin or exact_prefix, and these are added:
  fault.requests, fault.dropped_batches, fault.prediction_error_after, fault.restart_s, quiet.requests,
  quiet.exact_multiples, quiet.salted, quiet.lora, engine_start_s

Exit code: 0; 1 when something could not start or a promise was not kept; 2 for a wrong command line; 130 after Ctrl-C.";

/// How many requests each part of the demo makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    pub(crate) race: usize,
    pub(crate) fault: usize,
    pub(crate) quiet: usize,
}

impl Args {
    /// What to run; values that make no sense are refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a speed or a number of engines outside what the demo can carry.
    pub(crate) fn plan(&self) -> Result<Plan> {
        if !(1.0..=200.0).contains(&self.speed) {
            return Err(invalid(format!("--speed {}: expected a number from 1 to 200", self.speed)));
        }
        match self.engines {
            Engines::Simulated(engines) if !(3..=32).contains(&engines) => {
                let why = "one is killed, one loses events and one is paused";
                return Err(invalid(format!("--engines {engines}: expected 3 to 32 ({why})")));
            }
            Engines::Simulated(engines) if self.vllm.is_given() => {
                return Err(invalid(format!("--engines {engines}: expected vllm, since an option for it is given")));
            }
            Engines::Vllm if self.trace.is_some() => {
                return Err(invalid("--engines vllm: expected no --trace, which is for simulated engines".to_owned()));
            }
            _ => {}
        }
        if self.cold_build_s.is_some_and(|seconds| !seconds.is_finite() || seconds < 0.0) {
            return Err(invalid("--cold-build-s: expected a number of seconds, 0 or more".to_owned()));
        }
        Ok(if self.short { Plan::SHORT } else { Plan::FULL })
    }
}

impl Plan {
    const FULL: Self = Self { race: 1500, fault: 450, quiet: 100 };
    const SHORT: Self = Self { race: 120, fault: 120, quiet: 100 };
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(std::iter::once("llmd-demo").chain(line.split_whitespace())).unwrap()
    }

    #[test]
    fn no_arguments_run_the_whole_trace() {
        assert_eq!(parse("").plan().unwrap(), Plan::FULL);
        assert_eq!(parse("--short").plan().unwrap(), Plan::SHORT);
    }

    #[test]
    fn a_value_out_of_range_is_named_with_what_was_expected() {
        for (line, message) in [
            ("--speed 0", "--speed 0: expected a number from 1 to 200"),
            ("--speed nan", "--speed NaN: expected a number from 1 to 200"),
            ("--engines 2", "--engines 2: expected 3 to 32 (one is killed, one loses events and one is paused)"),
            ("--cold-build-s -1", "--cold-build-s: expected a number of seconds, 0 or more"),
        ] {
            let error = parse(&line.replacen(' ', "=", 1)).plan().unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, message));
        }
    }

    #[test]
    fn options_for_other_engines_are_refused() {
        for (line, message) in [
            ("--vllm-model m", "--engines 4: expected vllm, since an option for it is given"),
            ("--engines vllm --trace t", "--engines vllm: expected no --trace, which is for simulated engines"),
        ] {
            assert_eq!(parse(line).plan().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn engines_are_so_many_or_those_of_vllm() {
        assert_eq!(parse("").engines, Engines::Simulated(4));
        assert_eq!(parse("--engines 7").engines, Engines::Simulated(7));
        assert_eq!(parse("--engines vllm").engines, Engines::Vllm);
        assert_eq!("vllms".parse::<Engines>().unwrap_err().to_string(), "expected a number, or vllm");
    }

    #[test]
    fn the_help_names_every_figure() {
        for name in crate::report::json::NAMES.iter().chain(&crate::real::FIGURES) {
            let word = name.split(".round_robin").next().unwrap();
            assert!(FIGURES.contains(word), "{name} is missing from the help");
        }
    }
}
