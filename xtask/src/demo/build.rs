//! The release build that the demo runs on: with cargo's own progress on the terminal, timed, cold or warm.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{cargo, not_started, shown};
use crate::stopwatch::Stopwatch;
use crate::workspace::Workspace;

const BUILD: [&str; 9] =
    ["build", "--release", "--package", "llmd-fleet", "--package", "llmd-gateway", "--package", "llmd-demo", "--bins"];

/// What cargo made.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) took: Duration,
    compiled: usize,
    fresh: usize,
    executables: Vec<PathBuf>,
}

/// Builds the binaries that the demo starts.
///
/// # Errors
///
/// When they do not compile.
pub(crate) fn release_binaries(workspace: &Workspace) -> Result<Built> {
    let mut command = cargo(&workspace.root, BUILD);
    eprintln!("$ {}", shown(&command));
    // Messages for programs on stdout; progress and diagnostics stay on stderr, which is the terminal's.
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stdout(Stdio::piped());

    let stopwatch = Stopwatch::start();
    let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
    let mut built = Built::default();
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        built.note(&line.or_fail(|| "cargo stopped talking".into())?);
    }
    let status = child.wait().or_fail(|| "cargo was lost".into())?;
    built.took = stopwatch.elapsed();
    if status.success() { Ok(built) } else { Err(Failure::new(format!("the demo does not compile ({status})"))) }
}

impl Built {
    /// Takes one of cargo's messages; those that are not about a compiled crate say nothing here.
    fn note(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return };
        if message["reason"] != "compiler-artifact" {
            return;
        }
        if message["fresh"] == true {
            self.fresh += 1;
        } else {
            self.compiled += 1;
        }
        self.executables.extend(message["executable"].as_str().map(PathBuf::from));
    }

    /// Whether nothing had been compiled before.
    pub(crate) const fn is_cold(&self) -> bool {
        self.fresh == 0
    }

    /// The binary of this name.
    pub(crate) fn executable(&self, name: &str) -> Option<&Path> {
        self.executables.iter().map(PathBuf::as_path).find(|path| path.file_stem().is_some_and(|stem| stem == name))
    }
}

/// One line.
impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, all) = (self.took.as_secs_f64(), self.compiled + self.fresh);
        match (self.is_cold(), self.compiled) {
            (true, _) => write!(f, "cold build: {all} crates in {seconds:.1} s"),
            (false, 0) => write!(f, "warm build: nothing to compile ({seconds:.1} s)"),
            (false, compiled) => write!(f, "warm build: {compiled} of {all} crates in {seconds:.1} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = r#"{"reason":"compiler-artifact","executable":null,"fresh":false}"#;
    const DEMO: &str = r#"{"reason":"compiler-artifact","executable":"/t/release/llmd-demo","fresh":false}"#;
    const FRESH: &str = r#"{"reason":"compiler-artifact","executable":null,"fresh":true}"#;

    #[test]
    fn a_build_is_cold_when_nothing_was_there_before() {
        let mut built = Built::default();
        for line in [LIBRARY, r#"{"reason":"build-script-executed"}"#, "no message at all", DEMO] {
            built.note(line);
        }

        assert!(built.is_cold());
        assert_eq!(built.to_string(), "cold build: 2 crates in 0.0 s");
        assert_eq!(built.executable("llmd-demo"), Some(Path::new("/t/release/llmd-demo")));
        assert_eq!(built.executable("llmd-engine"), None);
    }

    #[test]
    fn one_crate_from_before_makes_it_warm() {
        let mut built = Built::default();
        for line in [FRESH, DEMO] {
            built.note(line);
        }

        assert!(!built.is_cold());
        assert_eq!(built.to_string(), "warm build: 1 of 2 crates in 0.0 s");
    }
}
