//! The race as bars in a terminal.

use std::fmt::Write;

use crate::race::RaceResult;
use crate::report::seconds;

/// Columns that the longest bar takes.
const WIDTH: usize = 64;

/// A bar for each policy: full up to the median, shaded up to the mean, a line up to the 90th percentile.
pub(crate) fn bars(results: &[RaceResult]) -> String {
    let longest = results.iter().map(|result| result.ttft_ms.percentile(90.0)).fold(0.0, f64::max);
    let columns = |ms: f64| if longest > 0.0 { (ms / longest * WIDTH as f64).round() as usize } else { 0 };
    let mut text = String::from("time to first token: █ median  ▒ mean  ─ 90th percentile\n");
    for result in results {
        let (p50, p90, mean) =
            (result.ttft_ms.percentile(50.0), result.ttft_ms.percentile(90.0), result.ttft_ms.mean());
        let (full, shaded, line) = (columns(p50), columns(mean), columns(p90));
        let bar: String = (0..WIDTH)
            .map(|column| match column {
                _ if column < full => '█',
                _ if column < shaded => '▒',
                _ if column + 1 < line => '─',
                _ if column < line => '┤',
                _ => ' ',
            })
            .collect();
        let label = result.policy.to_string();
        writeln!(text, "{label:<14} {bar} {}", seconds(mean)).expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::policy::Policy;
    use crate::race::tests::result;

    #[test]
    fn bars_are_in_proportion() {
        let results = [
            result(Policy::RoundRobin, 40.0, &[100, 300, 900, 500]),
            result(Policy::ExactPrefix, 40.0, &[10, 30, 20, 100]),
        ];
        expect![[r"
              time to first token: █ median  ▒ mean  ─ 90th percentile
              round robin    █████████████████████▒▒▒▒▒▒▒▒▒▒▒───────────────────────────────┤ 18.0 s
              exact prefix   █▒▒───┤                                                          1.60 s
        "]]
        .assert_eq(&bars(&results));
    }

    #[test]
    fn nothing_measured_is_no_bar_and_no_panic() {
        assert!(bars(&[result(Policy::RoundRobin, 1.0, &[])]).contains("round robin"));
    }
}
