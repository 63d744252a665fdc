//! What a person sees: lines on standard output, progress bars on standard error, plain lines where nobody watches.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// The terminal, or what stands in for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    colour: bool,
    bars: bool,
}

impl Console {
    /// Looks at where the output goes: colours for a terminal without `NO_COLOR`, bars for one that is not a CI's.
    pub(crate) fn detect() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self { colour: io::stdout().is_terminal() && !set("NO_COLOR"), bars: io::stderr().is_terminal() && !set("CI") }
    }

    /// Prints text and ends the line. A reader who went away is no error.
    pub(crate) fn say(self, text: impl AsRef<str>) {
        let mut out = io::stdout().lock();
        _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    }

    /// Prints text, its lines set in a little.
    pub(crate) fn block(self, text: &str) {
        let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
        self.say(lines.join("\n"));
    }

    /// Prints the heading of a part.
    pub(crate) fn heading(self, text: &str) {
        self.say(format!("\n{}", self.paint("1", text)));
    }

    /// Prints what was promised and not kept.
    pub(crate) fn alarm(self, text: &str) {
        self.say(self.paint("1;31", text));
    }

    /// Prints, on standard error, the one line that says why the program ends.
    pub(crate) fn error(text: &str) {
        _ = writeln!(io::stderr().lock(), "error: {text}");
    }

    /// A bar for `length` steps, or two lines where bars are of no use.
    pub(crate) fn progress(self, label: &str, length: usize) -> Progress {
        let bar = self.bars.then(|| {
            let style = ProgressStyle::with_template("  {prefix:<14} {wide_bar} {pos:>5}/{len} {msg}");
            let bar = ProgressBar::new(length as u64).with_style(style.expect("the template is right"));
            bar.with_prefix(label.to_owned())
        });
        Progress { console: self, label: label.to_owned(), bar }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How far something has come.
#[derive(Debug)]
pub(crate) struct Progress {
    console: Console,
    label: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// One step more.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Ends the bar and says how it went, in one line that stays.
    pub(crate) fn end(self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.console.say(format!("  {:<14} {summary}", self.label));
    }
}
