//! The figures, under the names that scripts compare runs by.

use serde_json::{Map, Value, json};

use crate::blocks::BlocksResult;
use crate::fault::FaultResult;
use crate::policy::Policy;
use crate::quiet::QuietResult;
use crate::race::RaceResult;
use crate::report::gates;

/// Every figure, round robin standing for each policy.
#[cfg(test)]
pub(crate) const NAMES: [&str; 20] = [
    "requests",
    "failed_requests",
    "ttft_mean_ms.round_robin",
    "ttft_p90_ms.round_robin",
    "throughput_tok_s.round_robin",
    "hit_rate.round_robin",
    "hit_prediction_error_tokens.round_robin",
    "hit_prediction_error_quiet",
    "decision_us.p50",
    "decision_us.p99",
    "fault.failed_before_first_byte",
    "fault.cut_streams",
    "fault.index_wrong_blocks",
    "fault.recovery_ms",
    "cold_build_s",
    "blocks.verified",
    "blocks.corrupt_served",
    "bytes_moved",
    "move_blocks.gbps",
    "move_blocks.ratio_to_limit",
];

/// All figures, `cold_build_s` among them where somebody measured it. What could not be measured is left out rather than
/// made up.
pub(crate) fn figures(
    race: &[RaceResult],
    fault: &FaultResult,
    quiet: &QuietResult,
    cold_build_s: Option<f64>,
) -> Value {
    let mut figures = Map::new();
    let mut figure = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            figures.insert(name.to_owned(), json!(rounded(value)));
        }
    };
    let count = |n: usize| Some(n as f64);
    figure("requests", count(race.first().map_or(0, |result| result.samples.len())));
    figure("failed_requests", count(race.iter().map(RaceResult::failed).sum()));
    for result in race {
        let name = result.policy.name();
        figure(&format!("ttft_mean_ms.{name}"), Some(result.ttft_ms.mean()));
        figure(&format!("ttft_p90_ms.{name}"), Some(result.ttft_ms.percentile(90.0)));
        figure(&format!("throughput_tok_s.{name}"), Some(result.throughput));
        figure(&format!("hit_rate.{name}"), Some(result.hit_rate));
        figure(&format!("hit_prediction_error_tokens.{name}"), Some(result.prediction_error));
        if result.policy == Policy::ExactPrefix {
            figure("decision_us.p50", Some(result.decision_us.percentile(50.0)));
            figure("decision_us.p99", Some(result.decision_us.percentile(99.0)));
        }
    }
    figure("hit_prediction_error_quiet", quiet.error());
    figure("fault.failed_before_first_byte", count(fault.failed_before_first_byte()));
    figure("fault.cut_streams", count(fault.cut_streams()));
    figure("fault.index_wrong_blocks", fault.wrong_blocks().and_then(count));
    figure("fault.recovery_ms", fault.recovery.map(|time| time.as_secs_f64() * 1000.0));
    figure("cold_build_s", cold_build_s);
    figures.into()
}

/// Adds what is measured of blocks that moved.
pub(crate) fn add_blocks(figures: &mut Value, race: &[RaceResult], blocks: &BlocksResult) {
    let moved = gates::all_moved(race, blocks);
    figures["blocks.verified"] = json!(moved.verified);
    figures["blocks.corrupt_served"] = json!(moved.corrupt_served);
    figures["bytes_moved"] = json!(moved.bytes);
    figures["move_blocks.gbps"] = json!(rounded(blocks.gbps));
    figures["move_blocks.ratio_to_limit"] = json!(rounded(blocks.ratio()));
}

/// The whole object.
pub(crate) fn report(command: &str, machine: &Value, figures: &Value) -> Value {
    json!({"command": command, "machine": machine, "figures": figures})
}

/// Four digits after the point are more than any of these figures is worth.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::gates::tests::good;

    #[test]
    fn every_figure_has_its_name() {
        let (race, fault, quiet) = good();
        let mut figures = figures(&race, &fault, &quiet, Some(101.5));
        add_blocks(&mut figures, &race, &crate::blocks::tests::good());

        for name in NAMES {
            assert!(figures[name].is_number(), "{name} is missing");
            let exact = name.replace("round_robin", "exact_prefix");
            assert!(figures[&exact].is_number(), "{exact} is missing");
        }
        assert_eq!(figures["ttft_mean_ms.exact_prefix"], 600.0);
        assert_eq!(figures["fault.recovery_ms"], 310.0);
        assert_eq!(figures["hit_prediction_error_quiet"], 0.0);
        assert_eq!(figures.as_object().unwrap().len(), NAMES.len() + 5);
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let (race, mut fault, quiet) = good();
        fault.recovery = None;
        let figures = figures(&race, &fault, &quiet, None);
        assert!(figures.get("fault.recovery_ms").is_none() && figures.get("cold_build_s").is_none());
    }
}
