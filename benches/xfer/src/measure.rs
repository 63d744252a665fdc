//! Everybody in turns, pass by pass, so that whatever else the machine does weighs on all alike.

use std::io::{self, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::family::{Part, Side, Subject};
use crate::load::Load;
use crate::pair::{Pair, Setup, can_be};
use crate::rows::{Rows, SEAL};
use crate::scale::{SIZES, Scale};
use crate::work::Point;

/// The figures of all `subjects`. A peer that fails has none, and neither has who needs namespaces where there are none;
/// what fails of ours fails the run.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when a side of ours fails, [`ErrorKind::Corrupt`] when it brings another content.
pub(crate) fn measure(subjects: &[Subject], scale: &Scale, setup: &Setup<'_>) -> Result<Value> {
    let (subjects, apart): (Vec<_>, Vec<_>) = subjects.iter().partition(|subject| can_be(subject.apart));
    for subject in apart {
        say(&format!("{}: this user cannot make namespaces with unshare: left out", subject.name));
    }
    let progress = progress(scale.passes * subjects.len());
    let (mut rows, load) = (Rows::default(), Load::watch());
    for _ in 0..scale.passes {
        for subject in &subjects {
            progress.set_message(subject.name);
            match turn(subject, scale, setup, &mut rows) {
                Err(error) if subject.side != Side::Ours => progress.suspend(|| say(&format!("{error}: left out"))),
                result => result?,
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    rows.others(load.cores());
    Ok(rows.figures())
}

/// Everything of one subject, once.
fn turn(subject: &Subject, scale: &Scale, setup: &Setup<'_>, rows: &mut Rows) -> Result<()> {
    let mut pair = Pair::start(subject, scale.pool, setup)?;
    for part in subject.parts {
        match *part {
            Part::Idle(_) => {}
            Part::Latency => {
                let took = pair.transfers(scale.single(), subject.ways[0], scale.seconds)?;
                rows.number(subject.name, "latency_us.4kib", took.p50_us);
            }
            Part::Notify(wait) => {
                let took = pair.notifications(wait, scale.notifications(), scale.seconds)?;
                rows.number(subject.name, format!("notify_us.{}", wait.name()), took);
            }
            Part::OneSize => transfers(subject, &mut pair, scale, scale.point(SIZES[1]), rows)?,
            Part::Seal => {
                let point = scale.point(SIZES[1]);
                let took = pair.seals(point)?;
                rows.number(subject.name, SEAL, took * 1e9 / point.bytes() as f64);
            }
            Part::Sizes => {
                for size in SIZES {
                    transfers(subject, &mut pair, scale, scale.point(size), rows)?;
                }
            }
            Part::Submit => {
                let took = pair.transfers(scale.large(), subject.ways[0], scale.seconds)?;
                rows.number(subject.name, "submit_us.256mib", took.post_p50_us);
            }
        }
    }
    drop(pair);
    for part in subject.parts {
        if let Part::Idle(peers) = *part {
            let percent = Pair::idle(subject, peers, scale.single(), scale.idle, setup)?;
            rows.number(subject.name, "idle_cpu_percent", percent);
        }
    }
    Ok(())
}

fn transfers(subject: &Subject, pair: &mut Pair, scale: &Scale, point: Point, rows: &mut Rows) -> Result<()> {
    for way in subject.ways {
        let took = pair.transfers(point, way, scale.seconds)?;
        rows.transfers(subject.name, way, point.size, point.bytes(), took);
    }
    Ok(())
}

/// A folder for the lists, which goes away.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be made.
pub(crate) fn folder() -> Result<TempDir> {
    TempDir::new().map_err(|error| Error::new(ErrorKind::Unavailable, "no folder for lists").with_source(error))
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("xfer {bar:30} {pos}/{len} turns, {eta} left, {msg}");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A closed terminal is nothing to fail for.
fn say(line: &str) {
    _ = writeln!(io::stderr(), "llmd-xfer: {line}");
}
