//! Running one target, and what came of it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Target, corpus, folder};
use crate::failure::{OrFail as _, Result};
use crate::run::{not_started, shown};
use crate::stopwatch::Stopwatch;
use crate::workspace::Workspace;

/// How often a run says how far it is.
const PACE: Duration = Duration::from_secs(5);
/// How many lines of a run may wait to be looked at; it waits meanwhile.
const MAX_LINES: usize = 1024;
/// What a run leaves that is a finding, by the beginnings of the names that libFuzzer gives it.
const FINDINGS: [&str; 4] = ["crash-", "leak-", "oom-", "timeout-"];

/// What came of one target.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) target: Target,
    /// Inputs that were tried.
    pub(super) runs: u64,
    pub(super) seconds: f64,
    /// The inputs that broke it.
    pub(super) findings: Vec<PathBuf>,
    /// What it said when it broke.
    pub(super) said: Option<String>,
}

/// Runs a target for so many seconds.
///
/// # Errors
///
/// When it cannot be started, or ends badly without leaving an input that it failed on.
pub(super) fn of(workspace: &Workspace, programs: &Path, target: Target, seconds: u32) -> Result<Outcome> {
    let kept = corpus::made(folder(workspace).join("findings").join(target.name()))?;
    let known = findings(&kept)?;
    let mut command = Command::new(programs.join(target.name()));
    command.current_dir(&workspace.root).args([
        format!("-max_total_time={seconds}"),
        format!("-artifact_prefix={}/", kept.display()),
        format!("-max_len={}", corpus::MAX_LEN),
        "-timeout=20".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    let dictionary = workspace.root.join("fuzz/dictionaries").join(format!("{}.dict", target.name()));
    command.args(dictionary.is_file().then(|| format!("-dict={}", dictionary.display())));
    command.args(corpus::folders(workspace, target)?);

    eprintln!("\n== {}: {seconds} s", target.name());
    let stopwatch = Stopwatch::start();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| not_started(&command, error))?;
    let lines = child.stderr.take().map(lines_of);
    let mut said = Said::default();
    if let Some(lines) = lines {
        said.listen(&lines, target, stopwatch, seconds);
    }
    let status = child.wait().or_fail(|| format!("cannot wait for {}", target.name()))?;
    let findings: Vec<_> = findings(&kept)?.difference(&known).cloned().collect();
    if !status.success() && findings.is_empty() {
        let last = said.last.unwrap_or_else(|| "it said nothing".to_owned());
        return Err(crate::failure::Failure::new(format!("`{}` failed ({status}): {last}", shown(&command))));
    }
    Ok(Outcome { target, runs: said.runs, seconds: stopwatch.elapsed().as_secs_f64(), findings, said: said.broke })
}

fn findings(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder).or_fail(|| format!("cannot read {}", folder.display()))?;
    let is_finding = |name: &str| FINDINGS.iter().any(|begins| name.starts_with(begins));
    let files = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_finding));
    Ok(files.map(|entry| entry.path()).collect())
}

/// The lines of a pipe, as they come.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(MAX_LINES);
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// What a run says while it goes on.
#[derive(Debug, Default)]
struct Said {
    runs: u64,
    /// How many places in the code were reached.
    reached: u64,
    /// What it said when it broke, where it was a panic.
    broke: Option<String>,
    last: Option<String>,
}

impl Said {
    fn listen(&mut self, lines: &Receiver<String>, target: Target, stopwatch: Stopwatch, seconds: u32) {
        let mut shown = Duration::ZERO;
        loop {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = stopwatch.elapsed();
            if now >= shown + PACE {
                shown = now;
                let (name, reached) = (target.name(), self.reached);
                eprintln!("{name:12} {:>4} of {seconds} s, {reached} places reached", now.as_secs());
            }
        }
    }

    /// `#4096 pulse cov: 812 …` while it goes on, and `stat::number_of_executed_units: 4100` at its end.
    fn take(&mut self, line: String) {
        if let Some(runs) = line.strip_prefix("stat::number_of_executed_units:") {
            self.runs = runs.trim().parse().unwrap_or(self.runs);
        } else if let Some((runs, rest)) = line.strip_prefix('#').and_then(|rest| rest.split_once('\t')) {
            self.runs = runs.trim().parse().unwrap_or(self.runs);
            let mut words = rest.split_whitespace().skip_while(|word| *word != "cov:");
            self.reached = words.nth(1).and_then(|reached| reached.parse().ok()).unwrap_or(self.reached);
        } else if self.broke.is_none() && (line.contains(" panicked at ") || line.contains("ERROR: libFuzzer")) {
            self.broke = Some(line.clone());
        } else if let Some(broke) = self.broke.as_mut().filter(|broke| broke.ends_with(':')) {
            broke.push(' ');
            broke.push_str(&line);
        }
        if !line.is_empty() {
            self.last = Some(line);
        }
    }
}

/// One line for each target.
#[derive(Debug)]
pub(super) struct Table<'a>(pub(super) &'a [Outcome]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:12} {:>12} {:>12} {:>9}", "target", "runs", "a second", "findings")?;
        for Outcome { target, runs, seconds, findings, .. } in self.0 {
            let pace = *runs as f64 / seconds.max(f64::EPSILON);
            writeln!(f, "{:12} {runs:>12} {pace:>12.0} {:>9}", target.name(), findings.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Said {
        let mut said = Said::default();
        lines.iter().for_each(|line| said.take((*line).to_owned()));
        said
    }

    #[test]
    fn a_run_is_followed_and_its_end_counts() {
        let lines = ["INFO: Seed: 7", "#2\tINITED cov: 3 ft: 4 corp: 1/1b", "#4096\tpulse  cov: 812 ft: 900"];
        let on_the_way = said(&lines);
        assert_eq!((on_the_way.runs, on_the_way.reached), (4096, 812));

        let at_the_end = said(&[&lines[..], &["stat::number_of_executed_units: 5000", ""]].concat());
        assert_eq!((at_the_end.runs, at_the_end.broke), (5000, None));
    }

    #[test]
    fn a_panic_is_quoted_with_its_reason() {
        let lines = [
            "thread '<unnamed>' panicked at src/a.rs:1:2:",
            "index 3 out of range",
            "==7== ERROR: libFuzzer: deadly signal",
        ];
        let said = said(&lines);
        assert_eq!(said.broke.as_deref(), Some("thread '<unnamed>' panicked at src/a.rs:1:2: index 3 out of range"));
    }

    #[test]
    fn the_table_says_how_fast_and_what_was_found() {
        let outcome =
            Outcome { target: Target::Events, runs: 4000, seconds: 2.0, findings: vec!["crash-1".into()], said: None };
        let table = Table(&[outcome]).to_string();
        assert!(table.ends_with("events               4000         2000         1\n"), "{table}");
    }
}
