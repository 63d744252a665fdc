//! Counts of instructions: what callgrind says of each hot path, beside what is committed.
//!
//! A processor that callgrind shows is the same on every x86-64, so counts can be compared where wall time cannot. They depend on
//! the compiler: those of another one are shown, and nothing is said of them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{capture, cargo, not_started, run as run_command};
use crate::workspace::Workspace;

const PACKAGE: &str = "llmd-instructions";
/// Where the counts are, from the root of the workspace.
const COUNTS: &str = "benches/instructions/counts.txt";
/// More percent than this, and a path has become slower.
const TOLERANCE: f64 = 3.0;
/// Each path is counted so often, and the middle one counts: tables are seeded by chance.
const RUNS: usize = 3;

/// How many instructions a path takes.
type Counts = Vec<(String, u64)>;

/// Fails when a path takes more instructions than the committed counts say, and shows all of them.
///
/// # Errors
///
/// When the program cannot be built or counted, too.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let path = workspace.root.join(COUNTS);
    let committed = fs::read_to_string(&path).or_fail(|| format!("cannot read {}", path.display()))?;
    let (compiler, old) = read(&committed)?;
    let here = target()?;
    let comparison = Comparison { old, new: count(workspace)? };
    println!("{comparison}");
    if compiler != here {
        println!("nothing is compared: the counts of {COUNTS} are those of {compiler}, this is {here}");
        return Ok(());
    }
    comparison.verdict()
}

/// Writes the counts of now.
///
/// # Errors
///
/// When the program cannot be built or counted, or the file not be written.
pub(crate) fn bless(workspace: &Workspace) -> Result {
    let path = workspace.root.join(COUNTS);
    let counts = written(&target()?, &count(workspace)?);
    fs::write(&path, counts).or_fail(|| format!("cannot write {}", path.display()))
}

/// Compiler and machine, as far as counts depend on them.
fn target() -> Result<String> {
    let said = capture(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
    Ok(format!("rustc {} for {}", field("release: "), field("host: ")))
}

fn count(workspace: &Workspace) -> Result<Counts> {
    run_command(&mut cargo(&workspace.root, ["build", "--quiet", "--release", "--package", PACKAGE]))?;
    let program = workspace.target.join("release").join(PACKAGE);
    let paths = capture(&mut Command::new(&program))?;
    paths.lines().map(|line| median(&program, line)).collect()
}

/// The middle one of several counts of the path that `line` names, with how often it is done.
fn median(program: &Path, line: &str) -> Result<(String, u64)> {
    let unclear = || Failure::new(format!("{PACKAGE} lists {line:?}: expected a path and how often it is done"));
    let (path, times) = line.split_once(' ').ok_or_else(unclear)?;
    let times: u64 = times.parse().ok().filter(|times| *times > 0).ok_or_else(unclear)?;
    let mut counts = (0..RUNS).map(|_| collected(program, path)).collect::<Result<Vec<_>>>()?;
    counts.sort_unstable();
    Ok((path.to_owned(), counts[RUNS / 2] / times))
}

/// The instructions that callgrind collects of one run.
fn collected(program: &Path, path: &str) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted*"]);
    valgrind.arg(program).arg(path);
    let output = valgrind.output().map_err(|error| not_started(&valgrind, &error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match count {
        Some(count) if output.status.success() && count > 0 => Ok(count),
        _ => Err(Failure::new(format!("callgrind did not count {path}; it said: {}", said.trim()))),
    }
}

/// What a file of counts says: the compiler's line, and each path.
fn read(text: &str) -> Result<(String, Counts)> {
    let compiler = text.lines().find_map(|line| line.strip_prefix("# by ")).unwrap_or("no compiler").to_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let counts = lines.map(|line| {
        let mut words = line.split_whitespace();
        let (path, count) = (words.next().unwrap_or_default(), words.next().and_then(|count| count.parse().ok()));
        let count = count.ok_or_else(|| Failure::new(format!("{COUNTS}: {line:?}: expected a path and a number")))?;
        Ok((path.to_owned(), count))
    });
    Ok((compiler, counts.collect::<Result<_>>()?))
}

fn written(compiler: &str, counts: &Counts) -> String {
    let width = width(counts.iter().map(|(path, _)| path));
    let mut text =
        format!("# Instructions of one time, counted by callgrind; `cargo xtask bless` writes them\n# by {compiler}\n");
    counts.iter().for_each(|(path, count)| text += &format!("{path:width$} {count:>9}\n"));
    text
}

fn width<'a>(paths: impl Iterator<Item = &'a String>) -> usize {
    paths.map(String::len).max().unwrap_or(0)
}

#[derive(Debug)]
struct Comparison {
    old: Counts,
    new: Counts,
}

impl Comparison {
    /// Each path that is there now, what it took, what it takes, and how many percent more that is.
    fn rows(&self) -> impl Iterator<Item = (&String, Option<u64>, u64, Option<f64>)> {
        self.new.iter().map(|(path, new)| {
            let old = self.old.iter().find(|(other, _)| other == path).map(|&(_, old)| old);
            (path, old, *new, old.map(|old| (*new as f64 - old as f64) * 100.0 / old as f64))
        })
    }

    fn verdict(&self) -> Result {
        let more = self.rows().filter(|(.., percent)| percent.is_none_or(|percent| percent > TOLERANCE));
        let more: Vec<_> = more.map(|(path, ..)| path.as_str()).collect();
        let is_gone = |old: &&(String, u64)| self.new.iter().all(|(new, _)| *new != old.0);
        let gone: Vec<_> = self.old.iter().filter(is_gone).map(|(path, _)| path.as_str()).collect();
        match (more.is_empty(), gone.is_empty()) {
            (true, true) => Ok(()),
            (false, _) => Err(Failure::new(format!(
                "more than {TOLERANCE} % more instructions, or new: {}; where that is meant, `cargo xtask bless`",
                more.join(", ")
            ))),
            (true, false) => Err(Failure::new(format!("no longer counted: {}; `cargo xtask bless`", gone.join(", ")))),
        }
    }
}

/// A line for each path: before, now, and percent.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = width(self.new.iter().map(|(path, _)| path)).max("instructions".len());
        write!(f, "{:width$} {:>10} {:>10} {:>8}", "instructions", "committed", "now", "")?;
        for (path, old, new, percent) in self.rows() {
            let old = old.map_or_else(|| "-".to_owned(), |old| old.to_string());
            let percent = percent.map_or_else(|| "new".to_owned(), |percent| format!("{percent:+.1} %"));
            write!(f, "\n{path:width$} {old:>10} {new:>10} {percent:>8}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|&(path, count)| (path.to_owned(), count)).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = counts(&[("hash.1024", 3918), ("index.query", 26_117)]);

        assert_eq!(read(&written("rustc 1", &all)).unwrap(), ("rustc 1".to_owned(), all));
        assert!(read("hash.1024 many\n").is_err());
    }

    #[test]
    fn three_percent_more_is_noise_and_four_are_named() {
        let old = counts(&[("hash", 1000), ("query", 1000)]);
        let verdict = |new: &[(&str, u64)]| Comparison { old: old.clone(), new: counts(new) }.verdict();

        assert!(verdict(&[("hash", 1030), ("query", 500)]).is_ok());
        let failure = verdict(&[("hash", 1040), ("query", 1000)]).unwrap_err().to_string();
        assert!(failure.contains(": hash;"), "{failure}");
        let failure = verdict(&[("hash", 1000), ("query", 1000), ("store", 1)]).unwrap_err().to_string();
        assert!(failure.contains(": store;"), "{failure}");
        let failure = verdict(&[("hash", 1000)]).unwrap_err().to_string();
        assert!(failure.contains("query"), "{failure}");
    }

    #[test]
    fn a_table_shows_before_now_and_percent() {
        let comparison = Comparison { old: counts(&[("hash", 1000)]), new: counts(&[("hash", 1100), ("query", 7)]) };
        let table = comparison.to_string();

        let squeezed: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(squeezed, ["instructions committed now", "hash 1000 1100 +10.0 %", "query - 7 new"]);
    }
}
