//! The program `llmd-fleet`: policies of scheduling, judged in virtual time.
//!
//! - `--validate`: llm-d's published tables beside what the simulation makes of the same loads.
//! - `--policies`: any configurations beside each other, on the same seeds.

mod args;
mod console;
mod machine;
mod runs;
mod stats;
mod validate;

use std::process::ExitCode;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::json;

pub use args::Args;

use crate::simulate::scenario::{BUILT_IN, NAMES, Scenario, named};

/// Does what the command line says.
pub fn run(args: &Args) -> ExitCode {
    match outcome(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            console::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Says whether everything is within tolerance.
fn outcome(args: &Args) -> Result<bool> {
    if args.list {
        list();
        return Ok(true);
    }
    let machine = machine::describe();
    let scenarios = scenarios(args)?;
    let validation = validate::validate(&scenarios, args.seeds)?;
    console::say(machine::line(&machine));
    console::say(validation.to_string());
    let failures = validation.failures();
    let figures = validation.figures();
    if let Some(path) = &args.json {
        let report = json!({ "command": "cargo xtask fleet --validate", "machine": machine, "figures": figures });
        std::fs::write(path, format!("{report:#}\n"))
            .map_err(|error| Error::new(ErrorKind::Unavailable, format!("cannot write {}: {error}", path.display())))?;
    }
    console::say(format!("{:.0} requests per minute of one processor", validation.cost.requests_per_minute()));
    failures.iter().for_each(|failure| console::say(failure));
    Ok(failures.is_empty())
}

fn scenarios(args: &Args) -> Result<Vec<Scenario>> {
    let names: Vec<&str> =
        if args.scenario.is_empty() { NAMES[..9].to_vec() } else { args.scenario.iter().map(String::as_str).collect() };
    names
        .into_iter()
        .map(|name| {
            named(name).ok_or_else(|| {
                let message = format!("scenario {name}, expected one of {}", NAMES.join(", "));
                Error::new(ErrorKind::Invalid, message)
            })
        })
        .collect()
}

fn list() {
    for name in NAMES {
        let about = named(name).map_or("", |scenario| scenario.about);
        console::say(format!("{name}: {about}"));
    }
    for (name, yaml) in BUILT_IN {
        console::say(format!("{name}: {}", yaml.lines().next().unwrap_or_default().trim_start_matches("# ")));
    }
}
