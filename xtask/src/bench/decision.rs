//! How long a decision takes, how it grows with the pool, what it allocates, and what threads take from each other.

use std::fmt;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{cargo, not_started, run as run_command, shown};
use crate::workspace::Workspace;

/// What cargo builds for it.
const BUILD: [&str; 4] = ["build", "--release", "--package", "llmd-decision"];

/// Endpoints and tokens, as figures name them.
const CELLS: [&str; 5] = ["10x1k", "100x1k", "1000x1k", "100x100k", "1000x100k"];
/// Those that two threads decide.
const CONTENDED: [&str; 2] = ["100x1k", "100x100k"];

/// What llm-d's Go takes, as far as it is known. Not measured in this run, and on other machines.
const ELSEWHERE: [(&str, &str); 2] = [
    ("26 µs", "the scheduling step alone, among 2 endpoints: the endpoint picker's own histogram"),
    ("15 to 44 ms", "hashing and looking up a prompt of 131,072 tokens: kv-cache's token processor, index and scorer"),
];

/// Builds it, and measures. The figures are named in the help of the command.
///
/// # Errors
///
/// When it does not compile, or fails.
pub(super) fn measure(workspace: &Workspace, quick: bool) -> Result<Map<String, Value>> {
    run_command(&mut cargo(&workspace.root, BUILD))?;
    let mut bench = Command::new(workspace.target.join("release/llmd-decision"));
    if quick {
        bench.arg("--quick");
    }
    eprintln!("$ {}", shown(&bench));
    let output = bench.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| not_started(&bench, &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("the bench of decisions failed ({})", output.status)));
    }
    serde_json::from_slice(&output.stdout).or_fail(|| "the bench of decisions told no figures".into())
}

/// A line for each fleet, what an endpoint costs, what two threads take from each other, and what is told of llm-d.
#[derive(Debug)]
pub(super) struct Table<'a>(pub(super) &'a Map<String, Value>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:30} {:>10} {:>10} {:>12}", "decision, endpoints x tokens", "p50", "p99", "allocations")?;
        for cell in CELLS {
            let [p50, p99] = ["p50", "p99"].map(|which| self.figure(&format!("decision_us.{which}.{cell}")));
            let allocations = self.figure(&format!("allocations_per_decision.{cell}"));
            writeln!(f, "{cell:30} {p50:>7.2} µs {p99:>7.2} µs {allocations:>12.1}")?;
        }
        writeln!(f, "an endpoint more costs {:.1} ns", self.figure("decision_ns_per_endpoint"))?;
        for cell in CONTENDED {
            let [ratio, limit] = ["ratio", "limit"].map(|it| self.figure(&format!("concurrent_decisions_{it}.{cell}")));
            writeln!(
                f,
                "two threads make {ratio:.2} times the decisions of one among {cell}; with nothing in common, {limit:.2}"
            )?;
        }
        writeln!(f, "llm-d's Go, as told elsewhere and not measured here:")?;
        for (took, what) in ELSEWHERE {
            writeln!(f, "  {took:12} {what}")?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn figure(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_fleet_and_says_what_was_not_measured() {
        let Value::Object(figures) = json!({
            "decision_us.p50.100x100k": 17.2, "decision_us.p99.100x100k": 24.0,
            "allocations_per_decision.100x100k": 7.846, "decision_ns_per_endpoint": 47.3,
            "concurrent_decisions_ratio.100x1k": 1.96, "concurrent_decisions_limit.100x1k": 1.99,
        }) else {
            panic!("an object was written")
        };

        let table = Table(&figures).to_string();

        assert!(table.contains("100x100k                         17.20 µs   24.00 µs          7.8\n"), "{table}");
        assert!(table.contains("an endpoint more costs 47.3 ns\n"), "{table}");
        assert!(
            table.contains("1.96 times the decisions of one among 100x1k; with nothing in common, 1.99"),
            "{table}"
        );
        assert!(table.contains("not measured here:\n  26 µs"), "{table}");
    }
}
