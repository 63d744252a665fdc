//! The program `llmd-fleet`: policies of scheduling, judged in virtual time.
//!
//! - `--validate`: llm-d's published tables beside what the simulation makes of the same loads.
//! - `--policies`: any configurations beside each other, on the same seeds.

mod args;
mod compare;
mod console;
mod gains;
mod report;
mod runs;
mod stats;
mod svg;
mod trace;
mod validate;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use llmd_core::{Error, ErrorKind, Result};

pub use args::Args;

use crate::machine;
use crate::simulate::scenario::{BUILT_IN, NAMES, Policy, Scenario, named, traced};

/// How many of [`NAMES`] stand for published tables.
const PUBLISHED: usize = 9;
/// What CI looks at, with so many seeds at most.
const SHORT: ([&str; 4], u64) = (["ladder-a", "ladder-b", "k8s", "tiered"], 2);

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
    if args.seeds == 0 {
        return Err(Error::new(ErrorKind::Invalid, "0 seeds, expected at least 1"));
    }
    if args.validate { validate(args) } else { compare(args) }
}

fn validate(args: &Args) -> Result<bool> {
    let machine = machine::describe();
    let (names, seeds) = match (args.scenario.is_empty(), args.short) {
        (true, true) => (SHORT.0.to_vec(), args.seeds.min(SHORT.1)),
        (true, false) => (NAMES[..PUBLISHED].to_vec(), args.seeds),
        (false, _) => (wanted(&args.scenario), args.seeds),
    };
    let scenarios = scenarios(&names)?;
    let validation = validate::validate(&scenarios, seeds)?;
    let line = machine::line(&machine);
    console::say(format!("{line}\n{validation}"));
    console::say(speed(validation.cost));
    let gains = if args.short || !args.scenario.is_empty() { gains::Gains::default() } else { gains(seeds)? };
    if !gains.each.is_empty() {
        console::say(format!("\n{gains}\n{}", speed(gains.cost)));
    }
    let picture = args.out.join("validate.svg");
    report::write(&picture, &report::of_validation(&validation, &format!("{seeds} seeds · {line}")))?;
    console::say(format!("picture: {}", picture.display()));
    if let Some(path) = &args.json {
        let mut figures = validation.figures();
        gains.figures(&mut figures);
        report::json_file(path, &command(args), &machine, figures)?;
    }
    let failures = validation.failures();
    failures.iter().for_each(console::say);
    Ok(failures.is_empty())
}

/// llmd's default in every scenario that has a load of its own, and in each fleet of the tiered one.
fn gains(seeds: u64) -> Result<gains::Gains> {
    let tiered = ["tiered:tiered_hbm", "tiered:tiered_cpu"];
    let others = NAMES.iter().copied().filter(|name| !["k8s", "ladder-b", "tiered"].contains(name));
    let names: Vec<_> = others.chain(tiered).collect();
    let labels = names.iter().map(|name| name.rsplit(':').next().unwrap_or(name).to_owned());
    let labelled: Vec<_> = labels.zip(scenarios(&names)?).collect();
    gains::gains(&labelled, seeds)
}

fn compare(args: &Args) -> Result<bool> {
    let machine = machine::describe();
    let policies = args.policies.iter().map(|name| policy(name)).collect::<Result<Vec<_>>>()?;
    let scenarios = match &args.trace {
        Some(path) => vec![traced(trace::load(path, 16)?)],
        None if args.scenario.is_empty() => scenarios(&["ladder-a"])?,
        None => scenarios(&wanted(&args.scenario))?,
    };
    let end = args.first_seed.checked_add(args.seeds);
    let end =
        end.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no {} seeds from {}", args.seeds, args.first_seed)))?;
    let comparison = compare::compare(&scenarios, &policies, args.first_seed..end)?;
    let line = machine::line(&machine);
    console::say(format!("{line}\n{comparison}"));
    for (scenario, why) in comparison.slowest() {
        console::say(format!("{scenario}, {}: {why}", policies[0].name));
    }
    console::say(speed(comparison.cost));
    let picture = args.out.join("policies.svg");
    report::write(&picture, &report::of_comparison(&comparison, &format!("{} seeds · {line}", args.seeds)))?;
    console::say(format!("picture: {}", picture.display()));
    if let Some(path) = &args.json {
        report::json_file(path, &command(args), &machine, comparison.figures())?;
    }
    Ok(true)
}

fn speed(cost: runs::Cost) -> String {
    let (requests, seconds) = (cost.requests, cost.took.as_secs_f64());
    let per_minute = cost.requests_per_minute();
    format!("{requests} requests in {seconds:.1} s of processor time: {per_minute:.0} in a minute of one processor")
}

/// The policy that comes with the fleet under this name, or the one in this file.
fn policy(name: &str) -> Result<Policy> {
    if let Some(known) = Policy::built_in(name) {
        return Ok(known);
    }
    let path = Path::new(name);
    let yaml = fs::read_to_string(path).map_err(|error| {
        let message = format!("policy {name} does not come with the fleet, and cannot be read: {error}");
        Error::new(ErrorKind::Invalid, message)
    })?;
    let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(Policy::new(stem, yaml))
}

/// The scenarios that were asked for, by name; `ours` and `all` stand for several.
fn wanted(asked: &[String]) -> Vec<&str> {
    let names = asked.iter().flat_map(|name| match name.as_str() {
        "all" => NAMES.to_vec(),
        "ours" => NAMES[PUBLISHED..].to_vec(),
        name => vec![name],
    });
    names.collect()
}

/// The scenarios of these names. `NAME:ARM` has the fleet of that arm.
fn scenarios(names: &[&str]) -> Result<Vec<Scenario>> {
    let scenario = |asked: &&str| {
        let (name, arm) = asked.split_once(':').map_or((*asked, None), |(name, arm)| (name, Some(arm)));
        let mut scenario = named(name).ok_or_else(|| unknown("scenario", name, &NAMES))?;
        if let Some(arm) = arm {
            let arms: Vec<_> = scenario.arms.iter().map(|arm| arm.figure).collect();
            let place = arms.iter().position(|figure| *figure == arm).ok_or_else(|| unknown("arm", arm, &arms))?;
            scenario.fleet = scenario.arms[place].fleet.clone();
        }
        Ok(scenario)
    };
    names.iter().map(scenario).collect()
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} {name}, expected one of {}", known.join(", ")))
}

/// The command as one would type it.
fn command(args: &Args) -> String {
    let mut words = vec!["cargo xtask fleet".to_owned()];
    words.extend(args.validate.then(|| "--validate".to_owned()));
    words.extend(args.short.then(|| "--short".to_owned()));
    words.extend((!args.policies.is_empty()).then(|| format!("--policies {}", args.policies.join(","))));
    words.extend((!args.scenario.is_empty()).then(|| format!("--scenario {}", args.scenario.join(","))));
    words.extend(args.trace.as_ref().map(|path| format!("--trace {}", path.display())));
    words.push(format!("--seeds {}", args.seeds));
    words.extend((args.first_seed != 1).then(|| format!("--first-seed {}", args.first_seed)));
    words.join(" ")
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
