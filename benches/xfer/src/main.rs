//! `llmd-xfer`: the transfer beside NIXL's, Mooncake's and the machine's limits, on the same random blocks in the same run.
//!
//! Each subject is two processes, of which one holds blocks and the other pulls them: `serve` and `pull` are those that run
//! in this program, scripts those that run in Python. The driver asks both in lines of JSON.

mod child;
mod family;
mod limit;
mod line;
mod llmd;
mod load;
mod measure;
mod memory;
mod pair;
mod rows;
mod scale;
mod side;
mod stopwatch;
mod subjects;
mod work;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use llmd_core::{Error, ErrorKind, Result};

use crate::family::{Family, Subject};
use crate::pair::Setup;
use crate::scale::Scale;
use crate::subjects::ALL;

/// Whoever runs in this program. Another library is a file and a line here.
const FAMILIES: &[&dyn Family] = &[&limit::Limit, &llmd::Llmd];

/// Measures transfers. Figures go to standard output, as one JSON object of numbers; progress goes to standard error.
#[derive(Debug, Parser)]
#[command(name = "llmd-xfer", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    side: Option<Side>,
    /// The Python that has NIXL and Mooncake; without it they are left out.
    #[arg(long, value_name = "FILE", requires = "scripts")]
    python: Option<PathBuf>,
    /// The folder of the scripts that drive them.
    #[arg(long, value_name = "DIR")]
    scripts: Option<PathBuf>,
    /// Only the subjects whose names begin like this
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Smaller, shorter: to see that it runs, not to compare.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Subcommand)]
enum Side {
    /// The side that holds blocks; asked in lines of JSON
    Serve(Named),
    /// The side that pulls them
    Pull(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The subject.
    name: String,
    /// Bytes of the pool.
    #[arg(long)]
    pool: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            _ = writeln!(io::stderr(), "llmd-xfer: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    match &args.side {
        Some(Side::Serve(Named { name, pool })) => {
            side::die_with_the_driver();
            let (family, form) = named(name)?;
            side::serve(family.serve(form, *pool)?)
        }
        Some(Side::Pull(Named { name, pool })) => {
            side::die_with_the_driver();
            let (family, form) = named(name)?;
            side::pull(family.pull(form, *pool)?)
        }
        None => {
            let scale = if args.quick { Scale::QUICK } else { Scale::FULL };
            let folder = measure::folder()?;
            let setup =
                Setup { python: args.python.as_deref(), scripts: args.scripts.as_deref(), folder: folder.path() };
            let figures = measure::measure(&subjects(args), &scale, &setup)?;
            _ = writeln!(io::stdout(), "{figures:#}");
            Ok(())
        }
    }
}

/// Those who can be measured here, or the chosen ones of them.
fn subjects(args: &Args) -> Vec<Subject> {
    let is_possible = |subject: &Subject| match subject.side {
        family::Side::Ours => named(subject.name).is_ok(),
        family::Side::Script(..) => args.python.is_some(),
    };
    let is_wanted = |subject: &Subject| {
        args.only.is_empty() || args.only.iter().any(|start| subject.name.starts_with(start.as_str()))
    };
    ALL.iter().filter(|subject| is_possible(subject) && is_wanted(subject)).cloned().collect()
}

/// The family and the form of a subject that runs in this program.
fn named(name: &str) -> Result<(&'static dyn Family, &str)> {
    let (family, form) = name.split_once('.').unwrap_or((name, ""));
    let found = FAMILIES.iter().copied().find(|one| one.name() == family);
    let found = found.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no subject {name:?} in this program")))?;
    Ok((found, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<&'static str> {
        let words = ["llmd-xfer"].iter().chain(words);
        subjects(&Args::parse_from(words)).iter().map(|subject| subject.name).collect()
    }

    #[test]
    fn the_limits_are_always_there_and_peers_where_their_python_is() {
        let alone = names(&[]);
        assert!(alone.contains(&"limit.shm") && alone.iter().all(|name| named(name).is_ok()), "{alone:?}");
        let all = names(&["--python", "python", "--scripts", "."]);
        assert!(all.contains(&"nixl.best") && all.contains(&"mooncake.tcp"), "{all:?}");
        assert_eq!(names(&["--only", "limit.t,nixl"]), ["limit.tcp"]);
    }

    #[test]
    fn a_subject_is_a_family_in_a_form() {
        let (family, form) = named("limit.shm").unwrap();
        assert_eq!((family.name(), form), ("limit", "shm"));
        assert!(named("nixl.best").is_err() && family.serve("no such form", 1 << 20).is_err());
    }
}
