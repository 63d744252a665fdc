//! The other process as the demo sees it: started in a PID namespace of its own where the machine allows that.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::Grant;

use super::lender::{LEND, Order, Said};

/// Ways to start a program in a PID namespace of its own, by right and by a user namespace, and one without.
const WAYS: [&[&str]; 3] = [
    &["unshare", "--pid", "--fork", "--kill-child", "--"],
    &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--"],
    &[],
];

/// Where the process that lends is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Setting {
    /// Where it sees none of our processes.
    OwnNamespace,
    /// Beside us: this machine allows no namespace.
    SameNamespace,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnNamespace => "prefill is another process, in a PID namespace of its own",
            Self::SameNamespace => "prefill is another process; this machine allows it no PID namespace of its own",
        })
    }
}

/// A process that lends blocks. It ends when this drops.
#[derive(Debug)]
pub(super) struct Other {
    child: Child,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    setting: Setting,
}

impl Other {
    /// Starts this program once more, in the first of the ways that works.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when none does.
    pub(super) fn start() -> Result<Self> {
        let own = std::env::current_exe().map_err(|error| unavailable("this program does not know itself", &error))?;
        let mut last = Error::new(ErrorKind::Unavailable, "no way to start it");
        for way in WAYS {
            match Self::start_by(way, &own) {
                Ok(other) => return Ok(other),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start_by(way: &[&str], own: &Path) -> Result<Self> {
        let mut command = match way.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                // Why a namespace cannot be had is not worth a word: another way is tried.
                command.args(rest).arg(own).stderr(Stdio::null());
                command
            }
            None => Command::new(own),
        };
        let started = command.arg(LEND).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| unavailable("the process that lends cannot be started", &error))?;
        let orders = child.stdin.take();
        let said = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut other = Self { child, orders, said, setting: Setting::SameNamespace };
        match other.hear()? {
            // The first process of a namespace is number 1 in it.
            Said::Ready { pid: 1 } => other.setting = Setting::OwnNamespace,
            Said::Ready { .. } => {}
            said => return Err(Error::new(ErrorKind::Corrupt, format!("{said:?}, expected that it is ready"))),
        }
        Ok(other)
    }

    pub(super) const fn setting(&self) -> Setting {
        self.setting
    }

    /// Has all blocks lent for so long, at least a millisecond.
    ///
    /// # Errors
    ///
    /// What the other process says, and [`ErrorKind::Unavailable`] when it is gone.
    pub(super) fn lend(&mut self, time: Duration) -> Result<Grant> {
        match self.order(Order::Lend { ms: time.as_millis() as u64 })? {
            Said::Lent(text) => {
                let bytes = STANDARD.decode(text);
                Grant::from_bytes(&bytes.map_err(|error| Error::new(ErrorKind::Corrupt, error.to_string()))?)
            }
            said => Err(Error::new(ErrorKind::Corrupt, format!("{said:?}, expected a grant"))),
        }
    }

    /// Has a bit of a block flipped.
    ///
    /// # Errors
    ///
    /// As [`lend`](Self::lend).
    pub(super) fn flip(&mut self, block: u32) -> Result<()> {
        self.order(Order::Flip { block }).map(drop)
    }

    fn order(&mut self, order: Order) -> Result<Said> {
        let line = serde_json::to_string(&order).expect("an order is plain data");
        let orders = self.orders.as_mut().expect("it is closed when this drops");
        writeln!(orders, "{line}").map_err(|error| unavailable("the process that lends is gone", &error))?;
        match self.hear()? {
            Said::Failed(why) => Err(Error::new(ErrorKind::Internal, format!("{order:?}: {why}"))),
            said => Ok(said),
        }
    }

    fn hear(&mut self) -> Result<Said> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        read.map_err(|error| unavailable("the process that lends is gone", &error))?;
        serde_json::from_str(&line)
            .map_err(|error| Error::new(ErrorKind::Unavailable, "the process that lends has ended").with_source(error))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It ends when nobody orders any more; whoever started it in between ends with it.
        self.orders = None;
        _ = self.child.wait();
    }
}

fn unavailable(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: {error}"))
}
