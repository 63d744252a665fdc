//! How long the index takes to be exact again after something broke: builds engines and the bench, and runs it.

use std::fmt;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{cargo, not_started, run as run_command, shown};
use crate::workspace::Workspace;

/// What cargo builds for it.
const BUILD: [&str; 6] = ["build", "--release", "--package", "llmd-heal", "--package", "llmd-fleet"];

/// What is broken, as figures name it, and in words.
const FAULTS: [(&str, &str); 3] = [
    ("engine_restart", "an engine is killed and started again"),
    ("router_restart", "the router begins again with its snapshot"),
    ("lost_1pct", "one of 100 batches is lost"),
];

/// Builds everything, and measures. The figures are named in the help of the command.
///
/// # Errors
///
/// When something does not compile, or the index does not heal.
pub(super) fn measure(workspace: &Workspace, quick: bool) -> Result<Map<String, Value>> {
    run_command(&mut cargo(&workspace.root, BUILD))?;
    let mut bench = Command::new(workspace.target.join("release/llmd-heal"));
    if quick {
        bench.arg("--quick");
    }
    eprintln!("$ {}", shown(&bench));
    let output = bench.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| not_started(&bench, &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("the index did not heal ({})", output.status)));
    }
    serde_json::from_slice(&output.stdout).or_fail(|| "the bench told no figures".into())
}

/// A line for each fault, and what was wrong.
#[derive(Debug)]
pub(super) struct Table<'a>(pub(super) &'a Map<String, Value>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:42} {:>7} {:>10} {:>10}", "heal", "faults", "median", "longest")?;
        for (name, what) in FAULTS {
            let [faults, median, longest] =
                ["faults", "median_s", "s"].map(|figure| self.figure(&format!("heal_{figure}.{name}")));
            writeln!(f, "{what:42} {faults:>7} {median:>8.3} s {longest:>8.3} s")?;
        }
        let [wrong, moments, queries] = ["wrong_while_exact", "heal_moments", "heal_queries"].map(|it| self.figure(it));
        writeln!(f, "wrong while exact: {wrong}, at {moments} moments and in {queries} answers")
    }
}

impl Table<'_> {
    fn figure(&self, name: &str) -> f64 {
        self.0.get(&format!("index.{name}")).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_fault() {
        let Value::Object(figures) = json!({
            "index.heal_s.lost_1pct": 0.25, "index.heal_median_s.lost_1pct": 0.02, "index.heal_faults.lost_1pct": 10,
            "index.wrong_while_exact": 0, "index.heal_moments": 2804, "index.heal_queries": 8412,
        }) else {
            panic!("an object was written")
        };

        let table = Table(&figures).to_string();

        assert!(
            table.contains("one of 100 batches is lost                      10    0.020 s    0.250 s\n"),
            "{table}"
        );
        assert!(table.ends_with("wrong while exact: 0, at 2804 moments and in 8412 answers\n"), "{table}");
    }
}
