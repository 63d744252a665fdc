//! What a person sees: lines on standard output, a progress bar on standard error where somebody watches.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

/// Prints text and ends the line. A reader who went away is no error.
pub(super) fn say(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
}

/// Prints, on standard error, the one line that says why the program ends.
pub(super) fn error(text: &str) {
    _ = writeln!(io::stderr().lock(), "error: {text}");
}

/// How far something has come.
#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for so many steps; none where nobody watches.
    pub(super) fn new(label: &str, steps: usize) -> Self {
        let watched = io::stderr().is_terminal() && std::env::var_os("CI").is_none_or(|value| value.is_empty());
        Self(watched.then(|| {
            let style = ProgressStyle::with_template("  {prefix:<14} {wide_bar} {pos:>5}/{len} runs, {eta} to go");
            let bar = ProgressBar::new(steps as u64).with_style(style.expect("the template is right"));
            bar.with_prefix(label.to_owned())
        }))
    }

    /// One step more.
    pub(super) fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
