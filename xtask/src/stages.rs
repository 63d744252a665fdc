//! The stages of a long command: each is announced, timed and remembered, and a table closes the run.

use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::stopwatch::Stopwatch;

/// What was run so far. A stage that fails does not keep the next from running: one run shows all that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    stage: String,
    ending: Ending,
    took: Duration,
}

#[derive(Debug)]
enum Ending {
    Failed(String),
    Passed,
    Skipped(String),
}

impl Stages {
    /// Runs one stage. Says whether it passed.
    pub(crate) fn run(&mut self, stage: impl Into<String>, work: impl FnOnce() -> Result) -> bool {
        let stage = stage.into();
        eprintln!("\n== {stage}");
        let stopwatch = Stopwatch::start();
        let ending = match work() {
            Ok(()) => Ending::Passed,
            Err(failure) => {
                eprintln!("error: {failure}");
                Ending::Failed(failure.to_string())
            }
        };
        let passed = matches!(ending, Ending::Passed);
        self.rows.push(Row { stage, ending, took: stopwatch.elapsed() });
        passed
    }

    /// Remembers that a stage was left out, and why.
    pub(crate) fn skip(&mut self, stage: impl Into<String>, why: impl Into<String>) {
        self.rows.push(Row { stage: stage.into(), ending: Ending::Skipped(why.into()), took: Duration::ZERO });
    }

    /// Prints the table.
    ///
    /// # Errors
    ///
    /// When a stage failed; the message names every one that did.
    pub(crate) fn finish(self) -> Result {
        println!("\n{self}");
        let failed = self.rows.iter().filter(|row| matches!(row.ending, Ending::Failed(_)));
        let failed: Vec<_> = failed.map(|row| row.stage.as_str()).collect();
        match failed.as_slice() {
            [] => Ok(()),
            _ => Err(Failure::new(format!("failed: {}; what each said is above", failed.join(", ")))),
        }
    }
}

/// One line per stage, and one for all.
impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.stage.len()).max().unwrap_or(0).max("in all".len());
        for Row { stage, ending, took } in &self.rows {
            let seconds = took.as_secs_f64();
            match ending {
                Ending::Failed(why) => writeln!(f, "{stage:width$}  {seconds:>7.1} s  FAILED  {why}")?,
                Ending::Passed => writeln!(f, "{stage:width$}  {seconds:>7.1} s  ok")?,
                Ending::Skipped(why) => writeln!(f, "{stage:width$}  {:>7}    skipped: {why}", "")?,
            }
        }
        let all: Duration = self.rows.iter().map(|row| row.took).sum();
        write!(f, "{:width$}  {:>7.1} s", "in all", all.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_fails_is_named_at_the_end_and_the_next_runs_all_the_same() {
        let mut stages = Stages::default();
        assert!(!stages.run("first", || Err(Failure::new("no luck"))));
        assert!(stages.run("second", || Ok(())));
        stages.skip("third", "not installed");

        let table = stages.to_string();
        assert!(table.contains("FAILED  no luck"), "{table}");
        assert!(table.contains("skipped: not installed"), "{table}");
        assert_eq!(stages.finish().unwrap_err().to_string(), "failed: first; what each said is above");
    }
}
