//! One process of the bench: what it says, and how it ended.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::not_started;
use crate::stopwatch::Stopwatch;

/// What to run, and for how long at most.
#[derive(Clone, Debug)]
pub(super) struct Job {
    words: Vec<OsString>,
    limit: Duration,
    /// Whether several indexes share the process: then none may break it.
    together: bool,
}

/// How a process ended, with what it had said.
#[derive(Debug)]
pub(super) enum Ending {
    Done(Vec<Value>),
    /// It fell over.
    Panicked(Vec<Value>),
    /// It was still running at its limit.
    Stuck(Vec<Value>),
}

/// The exit code of a program of Rust's that panicked.
const PANICKED: i32 = 101;

impl Job {
    pub(super) fn new(words: &str, limit: Duration) -> Self {
        Self { words: words.split(' ').map(Into::into).collect(), limit, together: false }
    }

    pub(super) fn with(mut self, option: &str, value: &Path) -> Self {
        self.words.extend([option.into(), value.into()]);
        self
    }

    /// Several indexes share the process.
    pub(super) fn together(self) -> Self {
        Self { together: true, ..self }
    }

    /// The part and the one index that is measured, as rows name them; `None` when there are several.
    pub(super) fn alone(&self) -> Option<(String, String)> {
        let at = self.words.iter().position(|word| word == "--who").filter(|_| !self.together)?;
        let text = |word: &OsString| word.to_string_lossy().replace('-', "_");
        Some((text(self.words.first()?), text(self.words.get(at + 1)?)))
    }

    /// What follows `option`, if it is there.
    pub(super) fn value(&self, option: &str) -> Option<String> {
        let at = self.words.iter().position(|word| word == option)?;
        Some(self.words.get(at + 1)?.to_string_lossy().into_owned())
    }

    /// Runs it. Its progress goes where this program's does.
    ///
    /// # Errors
    ///
    /// When it cannot be started, gives up with a reason, or says what is no JSON.
    pub(super) fn run(&self, program: &Path) -> Result<Ending> {
        let mut command = Command::new(program);
        command.args(&self.words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
        let mut stdout = child.stdout.take().ok_or_else(|| Failure::new("a process without an output"))?;
        let reader = thread::spawn(move || {
            let mut said = String::new();
            stdout.read_to_string(&mut said).map(|_| said)
        });
        let ended = self.wait(&mut child)?;
        let said = reader.join().map_err(|_| Failure::new("nobody listened"))?.or_fail(|| format!("{self}"))?;
        let rows = said.lines().map(|line| serde_json::from_str(line).or_fail(|| format!("{self} said `{line}`")));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        match ended {
            Some(status) if status.success() => Ok(Ending::Done(rows)),
            Some(status) if matches!(status.code(), Some(PANICKED) | None) => Ok(Ending::Panicked(rows)),
            Some(status) => Err(Failure::new(format!("`{self}` failed ({status}); what it said is above"))),
            None => Ok(Ending::Stuck(rows)),
        }
    }

    /// How it ended; `None` when it was ended at its limit.
    fn wait(&self, child: &mut Child) -> Result<Option<ExitStatus>> {
        const PAUSE: Duration = Duration::from_millis(20);
        let stopwatch = Stopwatch::start();
        loop {
            if let Some(status) = child.try_wait().or_fail(|| format!("cannot wait for {self}"))? {
                return Ok(Some(status));
            }
            if stopwatch.elapsed() >= self.limit {
                child.kill().and_then(|()| child.wait()).or_fail(|| format!("cannot end {self}"))?;
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("llmd-peers")?;
        self.words.iter().try_for_each(|word| write!(f, " {}", word.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Ending> {
        let job = Job { words: vec!["-c".into(), script.into()], limit, together: false };
        job.run(Path::new("sh"))
    }

    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn a_process_is_done_panicked_or_stuck_and_what_it_said_is_kept() {
        let row = r#"echo '{"part":"hash"}'"#;
        assert!(matches!(shell(row, LONG).unwrap(), Ending::Done(rows) if rows.len() == 1));
        assert!(matches!(shell(&format!("{row}; exit 101"), LONG).unwrap(), Ending::Panicked(rows) if rows.len() == 1));
        assert!(matches!(shell("kill -9 $$", LONG).unwrap(), Ending::Panicked(_)));
        assert!(matches!(shell("exec sleep 1000", Duration::ZERO).unwrap(), Ending::Stuck(_)));
    }

    #[test]
    fn a_process_that_gives_up_with_a_reason_is_a_failure() {
        let failure = shell("exit 1", LONG).unwrap_err().to_string();
        assert!(failure.ends_with("failed (exit status: 1); what it said is above"), "{failure}");
    }

    #[test]
    fn a_job_of_one_index_says_whose_it_is() {
        let job = Job::new("fanout --who dynamo-crtc --children 10", LONG);
        assert_eq!(job.alone(), Some(("fanout".into(), "dynamo_crtc".into())));
        assert_eq!(job.value("--children"), Some("10".into()));
        assert_eq!(job.together().alone(), None);
    }
}
