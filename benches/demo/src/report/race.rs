//! The race as a table.

use crate::moved::Moved;
use crate::policy::Policy;
use crate::race::RaceResult;
use crate::report::seconds;
use crate::report::table::Table;

/// Requests that leave so much too late, in engine time, make a race doubtful.
const DOUBTFUL_MS: f64 = 1000.0;

/// One row for each policy, losing ones too.
pub(crate) fn table(results: &[RaceResult]) -> Table {
    let mut table = Table::new([
        "policy",
        "TTFT p50",
        "p90",
        "mean",
        "tokens/s",
        "cached",
        "decision p50",
        "p99",
        "off by",
        "failed",
    ]);
    for result in results {
        table.row([
            result.policy.to_string(),
            seconds(result.ttft_ms.percentile(50.0)),
            seconds(result.ttft_ms.percentile(90.0)),
            seconds(result.ttft_ms.mean()),
            format!("{:.0}", result.throughput),
            format!("{:.1} %", result.hit_rate * 100.0),
            format!("{:.0} µs", result.decision_us.percentile(50.0)),
            format!("{:.0} µs", result.decision_us.percentile(99.0)),
            off_by(result),
            result.failed().to_string(),
        ]);
    }
    table
}

/// What the columns mean.
pub(crate) const LEGEND: &str = "\
TTFT: engine time from the client's request to its first token. tokens/s: prompt and output tokens of the trace per second of engine time.
cached: prompt tokens that engines found in their caches. decision: time to choose an endpoint, in the gateway.
off by: simulated tokens between the gateway's prediction of cached tokens and the engine's report, mean per request; policies with a *
have no prefix index and predict 0.";

fn off_by(result: &RaceResult) -> String {
    let mark = if result.policy.predicts() { "" } else { " *" };
    format!("{:.1}{mark}", result.prediction_error)
}

/// A line for each policy under which engines fetched blocks from each other.
pub(crate) fn moved(results: &[RaceResult]) -> Vec<String> {
    let line = |result: &RaceResult| {
        let Moved { verified, corrupt_served, recomputed, bytes, .. } = result.moved?;
        let (policy, mb) = (result.policy, bytes as f64 / 1e6);
        Some(format!(
            "{policy}: {verified} blocks ({mb:.0} MB) went from engine to engine, every byte checked: {corrupt_served} were wrong, {recomputed} were computed again."
        ))
    };
    results.iter().filter_map(line).collect()
}

/// A line for each policy during whose race the machine was busy with something else: its times say little.
pub(crate) fn doubts(results: &[RaceResult]) -> Vec<String> {
    let late = |result: &RaceResult| result.late_ms.percentile(99.0);
    let doubtful = results.iter().filter(|result| late(result) > DOUBTFUL_MS);
    let line = |result: &RaceResult| {
        let (policy, late) = (result.policy, seconds(late(result)));
        format!(
            "This machine was busy during {policy}: requests left up to {late} (engine time, p99) late. A lower --speed helps."
        )
    };
    doubtful.map(line).collect()
}

/// How many times longer round robin waits than exact prefix for a first token, on average.
pub(crate) fn advantage(results: &[RaceResult]) -> Option<f64> {
    let mean = |policy| results.iter().find(|result| result.policy == policy).map(|result| result.ttft_ms.mean());
    Some(mean(Policy::RoundRobin)? / mean(Policy::ExactPrefix)?)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::race::Scale;
    use crate::race::tests::result;

    #[test]
    fn a_machine_that_was_busy_is_mentioned() {
        let mut samples = result(Policy::RoundRobin, 40.0, &[100, 300]).samples;
        samples[1].late = std::time::Duration::from_millis(50);
        expect![[r#"
            [
                "This machine was busy during round robin: requests left up to 2.00 s (engine time, p99) late. A lower --speed helps.",
            ]
        "#]]
        .assert_debug_eq(&doubts(&[RaceResult::new(Policy::RoundRobin, samples, Scale::simulated(40.0))]));
    }

    #[test]
    fn every_policy_has_its_row() {
        let results = [
            result(Policy::RoundRobin, 40.0, &[100, 300, 900, 500]),
            result(Policy::ExactPrefix, 40.0, &[10, 30, 20, 40]),
        ];
        expect![[r"
              policy        TTFT p50     p90    mean  tokens/s  cached  decision p50    p99  off by  failed
              ────────────  ────────  ──────  ──────  ────────  ──────  ────────────  ─────  ──────  ──────
              round robin     12.0 s  36.0 s  18.0 s        20  50.0 %         21 µs  23 µs   3.0 *       0
              exact prefix    0.80 s  1.60 s  1.00 s        20  50.0 %         21 µs  23 µs     3.0       0
        "]]
        .assert_eq(&table(&results).text());
        assert_eq!(advantage(&results), Some(18.0));
        assert!(doubts(&results).is_empty());
    }
}
