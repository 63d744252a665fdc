//! What is promised of real engines, and the figures that only they have.

use std::time::Duration;

use serde_json::{Value, json};

use super::engine::BLOCK_SIZE;
use super::fault::{AFTER, Broken, CRASHING, fewest};
use super::fleet::ENGINES;
use crate::client::Outcome;
use crate::fault::engine_name;
use crate::policy::Policy;
use crate::quiet::QuietResult;
use crate::race::RaceResult;
use crate::report::{gates, json};

/// Prompts of each kind that the quiet test must have sent.
const MIN_OF_A_KIND: usize = 20;

/// The figures that only real engines have.
#[cfg(test)]
pub(crate) const FIGURES: [&str; 9] = [
    "fault.requests",
    "fault.dropped_batches",
    "fault.prediction_error_after",
    "fault.restart_s",
    "quiet.requests",
    "quiet.exact_multiples",
    "quiet.salted",
    "quiet.lora",
    "engine_start_s",
];

/// What the columns of the race mean.
pub(super) const LEGEND: &str = "\
TTFT: from the client's request to its first token. tokens/s: prompt and output tokens per second.
cached: prompt tokens that engines found in their caches. decision: time to choose an endpoint, in the gateway.
off by: tokens between the gateway's prediction of cached tokens and the engine's report, mean per request; policies with a * have no
prefix index and predict 0.";

/// The promises that were not kept, each in a line that says what was expected.
pub(super) fn broken_promises(race: &[RaceResult], broken: &Broken, quiet: &QuietResult) -> Vec<String> {
    let mut lines = gates::broken(race, &broken.fault, quiet, false);
    let mut promise = |kept: bool, line: String| {
        if !kept {
            lines.push(line);
        }
    };
    let hits = |policy| race.iter().find(|result| result.policy == policy).map_or(f64::NAN, |result| result.hit_rate);
    let (exact, turns) = (hits(Policy::ExactPrefix), hits(Policy::RoundRobin));
    let line =
        format!("exact prefix finds {exact:.3} of the prompts cached, expected more than round robin's {turns:.3}");
    promise(exact > turns, line);

    promise(broken.lost > 0, "faults: no batch was lost: expected 1 or more".to_owned());
    let wrong = broken.after.first_wrong().map_or_else(String::new, |sample| {
        format!(" ({}: {} predicted, {:?} reported, {:?})", sample.id, sample.predicted, sample.cached, sample.outcome)
    });
    let cut = broken.fault.samples.iter().filter(|sample| matches!(sample.outcome, Outcome::Cut(_)));
    let elsewhere: Vec<_> = cut.filter(|sample| sample.endpoint != engine_name(CRASHING)).collect();
    let first = elsewhere.first().map_or_else(String::new, |sample| format!(" ({}: {:?})", sample.id, sample.outcome));
    let line = format!("faults: {} answers were cut that no killed engine gave, expected 0{first}", elsewhere.len());
    promise(elsewhere.is_empty(), line);
    let error = broken.after.error();
    let off_by = error.map_or_else(|| "unknown".to_owned(), |error| error.to_string());
    let line = format!("faults: predictions are off by {off_by} tokens afterwards, expected 0{wrong}");
    promise(error == Some(0.0), line);
    let least = fewest(&broken.after, ENGINES);
    promise(least >= AFTER, format!("faults: an engine answered {least} requests afterwards, expected {AFTER}"));

    for (kind, count) in
        [("end with a block", quiet.whole_blocks), ("are salted", quiet.salted), ("go to adapters", quiet.adapted)]
    {
        promise(count >= MIN_OF_A_KIND, format!("quiet: {count} prompts {kind}, expected {MIN_OF_A_KIND} or more"));
    }
    lines
}

/// Every figure.
pub(super) fn figures(
    race: &[RaceResult],
    broken: &Broken,
    quiet: &QuietResult,
    engine_start: Duration,
    cold_build_s: Option<f64>,
) -> Value {
    let mut figures = json::figures(race, &broken.fault, quiet, cold_build_s);
    let own = [
        ("fault.requests", json!(broken.fault.samples.len())),
        ("fault.dropped_batches", json!(broken.lost)),
        ("fault.prediction_error_after", json!(broken.after.error())),
        ("fault.restart_s", seconds(broken.away)),
        ("quiet.requests", json!(quiet.samples.len())),
        ("quiet.exact_multiples", json!(quiet.whole_blocks)),
        ("quiet.salted", json!(quiet.salted)),
        ("quiet.lora", json!(quiet.adapted)),
        ("engine_start_s", seconds(engine_start)),
    ];
    // What could not be measured is left out rather than made up.
    for (name, value) in own.into_iter().filter(|(_, value)| !value.is_null()) {
        figures[name] = value;
    }
    figures
}

fn seconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 10.0).round() / 10.0)
}

/// The quiet test in one line.
pub(super) fn quiet_line(quiet: &QuietResult) -> String {
    let error = quiet.error().map_or_else(|| "unknown".to_owned(), |error| format!("{error} tokens"));
    format!(
        "{} requests ({} end with a block of {BLOCK_SIZE}, {} salted, {} to adapters, {} found something cached): predictions off by {error}",
        quiet.samples.len(),
        quiet.whole_blocks,
        quiet.salted,
        quiet.adapted,
        quiet.hits(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::gates::tests::good;

    /// A demo in which everything went well.
    fn all_good() -> (Vec<RaceResult>, Broken, QuietResult) {
        let (race, fault, mut quiet) = good();
        (quiet.whole_blocks, quiet.salted, quiet.adapted) = (20, 20, 20);
        let mut race = race.to_vec();
        race[0].hit_rate = 0.3;
        let mut after = quiet.clone();
        let sample = after.samples[0].clone();
        after.samples = vec![sample; ENGINES * AFTER];
        after.samples.iter_mut().enumerate().for_each(|(n, sample)| sample.endpoint = format!("e{}", n % ENGINES));
        let broken = Broken { fault, lost: 3, away: Duration::from_secs(41), after };
        (race, broken, quiet)
    }

    #[test]
    fn nothing_is_said_when_every_promise_is_kept() {
        let (race, broken, quiet) = all_good();
        assert!(broken_promises(&race, &broken, &quiet).is_empty());
    }

    #[test]
    fn every_broken_promise_is_a_line() {
        let (mut race, mut broken, mut quiet) = all_good();
        race[0].hit_rate = 0.5;
        broken.lost = 0;
        broken.after.samples[0].predicted = 32;
        broken.after.samples.pop();
        (quiet.whole_blocks, quiet.salted, quiet.adapted) = (19, 0, 1);

        expect_test::expect![[r#"
            exact prefix finds 0.500 of the prompts cached, expected more than round robin's 0.500
            faults: no batch was lost: expected 1 or more
            faults: predictions are off by 0.5652173913043478 tokens afterwards, expected 0 (exact_prefix-0: 32 predicted, Some(45) reported, Done)
            faults: an engine answered 11 requests afterwards, expected 12
            quiet: 19 prompts end with a block, expected 20 or more
            quiet: 0 prompts are salted, expected 20 or more
            quiet: 1 prompts go to adapters, expected 20 or more"#]].assert_eq(&broken_promises(&race, &broken, &quiet).join("\n"));
    }

    #[test]
    fn every_figure_has_its_name() {
        let (race, broken, quiet) = all_good();
        let figures = figures(&race, &broken, &quiet, Duration::from_secs(50), None);
        for name in FIGURES {
            assert!(figures[name].is_number(), "{name} is missing");
        }
        assert_eq!((&figures["fault.restart_s"], &figures["quiet.lora"]), (&json!(41.0), &json!(20)));
    }
}
