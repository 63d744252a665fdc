//! A process that does the same work in another language, when it is told to.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use llmd_core::{Error, ErrorKind, Result};

use crate::job::Job;

/// A process that reads `job calls` lines and answers each with the nanoseconds that a call took. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: Process,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// Starts `program` with `args` and the folder of the scenario.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it cannot be started.
    pub(crate) fn start(program: &Path, args: &[&OsStr], scenario: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).arg(scenario).stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = program.display().to_string();
        let mut process = command.spawn().map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("{name} cannot be started")).with_source(error)
        })?;
        let asks = process.stdin.take().expect("standard input is piped");
        let answers = BufReader::new(process.stdout.take().expect("standard output is piped"));
        Ok(Self { name, process, asks, answers })
    }

    /// The nanoseconds that one of `calls` calls took, mean.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it has ended or answers something else; its standard error says why.
    pub(crate) fn time(&mut self, job: Job, calls: usize) -> Result<f64> {
        let mut line = String::new();
        let asked = writeln!(self.asks, "{} {calls}", job.name()).and_then(|()| self.asks.flush());
        let read = asked.and_then(|()| self.answers.read_line(&mut line));
        match read.map(|_| line.trim().parse()) {
            Ok(Ok(nanoseconds)) => Ok(nanoseconds),
            _ => {
                let message = format!("{} said {:?} to {}: expected a number", self.name, line.trim(), job.name());
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
