//! A subject while it is measured: its two processes, and what is asked of them.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::child::Child;
use crate::family::{Apart, Side, Subject, Wait};
use crate::line::Ask;
use crate::scale::SMALL_POOL;
use crate::stopwatch::Stopwatch;
use crate::work::{Point, Work};

/// Where scripts and lists are.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// The Python that has the peers' libraries.
    pub(crate) python: Option<&'a Path>,
    /// The folder of the scripts.
    pub(crate) scripts: Option<&'a Path>,
    /// Where lists of blocks can be written.
    pub(crate) folder: &'a Path,
}

/// What transfers of one point took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Took {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of these, until the call that posts returned.
    pub(crate) post_p50_us: f64,
    /// Of both sides, for each gigabyte moved.
    pub(crate) cpu_s_per_gb: f64,
}

/// Both sides of a subject, which know each other.
#[derive(Debug)]
pub(crate) struct Pair {
    name: &'static str,
    pool: usize,
    folder: PathBuf,
    holder: Child,
    puller: Child,
}

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when one cannot be started or fails.
    pub(crate) fn start(subject: &Subject, pool: usize, setup: &Setup<'_>) -> Result<Self> {
        let (mut holder, mut offer) = start(subject, "serve", pool, setup)?;
        let (mut puller, answer) = start(subject, "pull", pool, setup)?;
        puller.ask(&Ask::Meet { offer: offer.take() })?;
        holder.ask(&Ask::Meet { offer: answer })?;
        Ok(Self { name: subject.name, pool, folder: setup.folder.to_owned(), holder, puller })
    }

    /// Moves blocks, and compares what came.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a side fails, [`ErrorKind::Corrupt`] when another content came.
    pub(crate) fn transfers(&mut self, point: Point, way: &str, seconds: f64) -> Result<Took> {
        self.prepare(point)?;
        let before = number(&self.holder.ask(&Ask::Cpu)?, "cpu_s");
        let said = self.puller.ask(&Ask::Pull { way: way.into(), seconds })?;
        let held = number(&self.holder.ask(&Ask::Cpu)?, "cpu_s") - before;

        let count = number(&said, "count");
        // The one to warm up worked too, at the holder: it is among those that are divided by.
        let gigabytes = |transfers: f64| transfers * point.bytes() as f64 / 1e9;
        let cpu_s_per_gb = held / gigabytes(count + 1.0) + number(&said, "cpu_s") / gigabytes(count);
        self.check(count as usize + 1)?;
        Ok(Took {
            p50_us: number(&said, "p50_us"),
            p99_us: number(&said, "p99_us"),
            post_p50_us: number(&said, "post_p50_us"),
            cpu_s_per_gb,
        })
    }

    fn prepare(&mut self, point: Point) -> Result<()> {
        let lists = self.folder.join(format!("{}x{}-{}", point.size, point.blocks, self.pool));
        if !lists.exists() {
            Work::at(point, self.pool)?.write(&lists)?;
        }
        let ask = |tickets| Ask::Prepare { point, lists: lists.clone(), tickets };
        let tickets = self.holder.ask(&ask(Value::Null))?["tickets"].take();
        self.puller.ask(&ask(tickets)).map(drop)
    }

    fn check(&mut self, transfer: usize) -> Result<()> {
        let said = self.puller.ask(&Ask::Check { number: transfer })?;
        let [wrong, words] = ["wrong", "words"].map(|name| said[name].as_u64().unwrap_or(0));
        if wrong != 0 || words == 0 {
            let message = format!("{}: {wrong} of {words} words are wrong: expected none", self.name);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(())
    }

    /// What a notification takes there and back, in microseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a side fails.
    pub(crate) fn notifications(&mut self, wait: Wait, count: usize, seconds: f64) -> Result<f64> {
        let wait = wait.name().to_owned();
        self.holder.ask(&Ask::Echo { wait: wait.clone() })?;
        let said = self.puller.ask(&Ask::Notify { wait, count, seconds })?;
        self.holder.ask(&Ask::Quiet)?;
        Ok(number(&said, "p50_us"))
    }

    /// What making blocks ready takes, in microseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a side fails.
    pub(crate) fn seals(&mut self, point: Point) -> Result<f64> {
        self.prepare(point)?;
        Ok(number(&self.holder.ask(&Ask::Seal)?, "p50_us"))
    }

    /// What a puller does that does nothing, in percent of a core, while `peers` know it and have each been pulled from.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a side fails.
    pub(crate) fn idle(subject: &Subject, peers: usize, point: Point, seconds: f64, setup: &Setup<'_>) -> Result<f64> {
        let mut pair = Self::start(subject, SMALL_POOL, setup)?;
        let mut others = Vec::new();
        pair.transfers(point, subject.ways[0], 0.0)?;
        for _ in 1..peers {
            let (holder, offer) = start(subject, "serve", SMALL_POOL, setup)?;
            others.push(std::mem::replace(&mut pair.holder, holder));
            pair.puller.ask(&Ask::Meet { offer })?;
            pair.transfers(point, subject.ways[0], 0.0)?;
        }
        let before = number(&pair.puller.ask(&Ask::Cpu)?, "cpu_s");
        let stopwatch = Stopwatch::start();
        thread::sleep(Duration::from_secs_f64(seconds));
        let worked = number(&pair.puller.ask(&Ask::Cpu)?, "cpu_s") - before;
        Ok(100.0 * worked / stopwatch.elapsed().as_secs_f64())
    }
}

fn start(subject: &Subject, verb: &str, pool: usize, setup: &Setup<'_>) -> Result<(Child, Value)> {
    let mut words = program(subject, setup)?;
    words.extend([verb, subject.name, "--pool"].map(OsString::from));
    words.push(pool.to_string().into());
    if verb == "serve" {
        words.splice(0..0, around(subject.apart).iter().map(OsString::from));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    if let Side::Script(_, variables) = subject.side {
        command.envs(variables.iter().copied());
    }
    Child::start(format!("{} {verb}", subject.name), command)
}

fn program(subject: &Subject, setup: &Setup<'_>) -> Result<Vec<OsString>> {
    match (subject.side, setup.python, setup.scripts) {
        (Side::Ours, ..) => {
            let program = env::current_exe()
                .map_err(|error| Error::new(ErrorKind::Unavailable, "this program has no path").with_source(error))?;
            Ok(vec![program.into()])
        }
        (Side::Script(script, _), Some(python), Some(scripts)) => Ok(vec![python.into(), scripts.join(script).into()]),
        (Side::Script(script, _), ..) => {
            Err(Error::new(ErrorKind::Unavailable, format!("{script} takes --python and --scripts")))
        }
    }
}

/// What runs a process as in another pod. It ends with the process that asked for it.
const fn around(apart: Apart) -> &'static [&'static str] {
    match apart {
        Apart::No => &[],
        Apart::Processes => &["unshare", "--pid", "--ipc", "--fork", "--kill-child", "--"],
        Apart::ProcessesAndNetwork => &["unshare", "--pid", "--ipc", "--net", "--fork", "--kill-child", "--"],
    }
}

/// Whether this user may run a process so far apart. Without `unshare`, or the right to use it, one cannot.
pub(crate) fn can_be(apart: Apart) -> bool {
    let [program, words @ ..] = around(apart) else { return true };
    let mut command = Command::new(program);
    command.args(words).arg("true").stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn number(said: &Value, name: &str) -> f64 {
    said[name].as_f64().unwrap_or(f64::NAN)
}
