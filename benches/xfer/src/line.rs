//! What the driver asks of the two processes of a subject, and what they answer: one JSON object a line.
//!
//! A process begins by saying what the other one must know: `{"offer": …}`. Then each line that it reads is a question, and
//! gets one line: an object, or `{"error": "…"}`. It ends when there are no more. Scripts speak the same.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use llmd_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::work::Point;

/// One question.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Of the puller: wipe where this transfer goes, make it, and compare every word. `{"wrong", "words"}`.
    Check { number: usize },
    /// Of both: seconds that all threads have worked so far. `{"cpu_s"}`.
    Cpu,
    /// Of the holder: answer notifications until the next question. `{}` at once.
    Echo { wait: String },
    /// Of both: what the other one has offered. `{}`.
    Meet { offer: Value },
    /// Of the puller: notifications there and back, for these seconds at most. `{"p50_us", "p99_us", "count"}`.
    Notify { wait: String, count: usize, seconds: f64 },
    /// Of both: a point, with its lists in a file. The holder answers `{"tickets"}`, which the puller is given.
    Prepare { point: Point, lists: PathBuf, tickets: Value },
    /// Of the puller: one transfer to warm up, then those that are timed, for these seconds at most but three at least.
    /// `{"p50_us", "p99_us", "post_p50_us", "count", "cpu_s"}`; `count` is the number of the next transfer.
    Pull { way: String, seconds: f64 },
    /// Of the holder, which ends its echo. `{}`.
    Quiet,
    /// Of the holder: make the blocks of all transfers ready. `{"p50_us"}`.
    Seal,
}

/// The questions, as they come.
#[derive(Debug)]
pub(crate) struct Asks(Receiver<String>);

impl Asks {
    /// Reads standard input on a thread, so that a side can look for a question while it does something else.
    pub(crate) fn read() -> Self {
        let (lines, asks) = sync_channel(1);
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(io::Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self(asks)
    }

    /// The next question; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when it is none.
    pub(crate) fn next(&self) -> Result<Option<Ask>> {
        self.0.recv().ok().map(|line| parsed(&line)).transpose()
    }

    /// The next question, if it is there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when it is none, [`ErrorKind::Unavailable`] when there are no more.
    pub(crate) fn look(&self) -> Result<Option<Ask>> {
        match self.0.try_recv() {
            Ok(line) => parsed(&line).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Error::new(ErrorKind::Unavailable, "nobody asks any more")),
        }
    }
}

fn parsed(line: &str) -> Result<Ask> {
    serde_json::from_str(line).map_err(|error| Error::new(ErrorKind::Corrupt, "no question").with_source(error))
}

/// Answers. A closed pipe is nothing to fail for: there are no more questions then.
pub(crate) fn say(answer: &Value) {
    let mut out = io::stdout().lock();
    _ = writeln!(out, "{answer}").and_then(|()| out.flush());
}

/// Answers that something went wrong.
pub(crate) fn say_error(error: &Error) {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    say(&json!({ "error": format!("{error}{cause}") }));
}
