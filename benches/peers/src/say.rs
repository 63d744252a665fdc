//! What is found goes to standard output, one JSON object a line; how far it is, to standard error.

use std::io::Write as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Says something that was found. A closed pipe is nothing to fail for.
pub(crate) fn row(row: &Value) {
    _ = writeln!(std::io::stdout(), "{row}");
}

/// A bar of `steps` steps.
pub(crate) fn progress(what: &str, steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:24} {bar:30} {pos}/{len}, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    bar.set_prefix(what.to_owned());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
