//! Pictures of what was compared, and files.

use std::fs;
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::compare::{Comparison, Contest};
use super::stats::{deviation, mean};
use super::svg::{Dot, Group, Shade, picture};
use super::validate::{Judged, Validation};
use crate::simulate::scenario::Measure;

/// The throughputs of the published tables and how far the simulation is from them: the whole of each, and stages where no
/// whole was published.
pub(super) fn of_validation(validation: &Validation, caption: &str) -> String {
    let mut groups: Vec<Group> = Vec::new();
    let stands = |judged: &&Judged| {
        judged.row.measure != Measure::FirstToken && (judged.row.rate.is_none() || !validation.has_whole(judged))
    };
    for judged in validation.rows.iter().filter(stands) {
        if groups.last().is_none_or(|group| group.label != judged.scenario) {
            groups.push(Group { label: judged.scenario.to_owned(), dots: Vec::new() });
        }
        let shade = match judged.row.within {
            Some(_) if judged.fails() => Shade::Bad,
            Some(_) => Shade::Good,
            None => Shade::Plain,
        };
        let digits = if judged.row.published < 100.0 { 2 } else { 0 };
        let dot = Dot {
            label: judged.figure.clone(),
            percent: judged.difference(),
            spread: deviation(&judged.simulated) / judged.row.published * 100.0,
            shade,
            note: format!("{:.digits$} of {:.digits$}", mean(&judged.simulated), judged.row.published),
        };
        if let Some(group) = groups.last_mut() {
            group.dots.push(dot);
        }
    }
    let subtitle =
        "percent from what was published, with the standard deviation over seeds; green is held to its tolerance";
    picture("llm-d's published tables, simulated", subtitle, &groups, caption)
}

/// What each policy gains over the first, in each scenario.
pub(super) fn of_comparison(comparison: &Comparison<'_>, caption: &str) -> String {
    let group = |Contest { scenario, contenders }: &Contest<'_>| {
        let dots = contenders.iter().map(|contender| {
            let (percent, spread) = contender.gain();
            let shade = match percent {
                _ if percent - spread > 0.0 => Shade::Good,
                _ if percent + spread < 0.0 => Shade::Bad,
                _ => Shade::Plain,
            };
            Dot { label: contender.policy.clone(), percent, spread, shade, note: format!("{percent:+.1} %") }
        });
        Group { label: format!("{} ({})", scenario.name, scenario.objective.words()), dots: dots.collect() }
    };
    let groups: Vec<_> = comparison.contests.iter().map(group).collect();
    let subtitle = "gain in the objective over the first policy, on the same seeds, with a 95 % interval";
    picture("Policies compared", subtitle, &groups, caption)
}

/// Writes the figures, by what and where.
pub(super) fn json_file(path: &Path, command: &str, machine: &Value, figures: Map<String, Value>) -> Result<()> {
    let report = json!({ "command": command, "machine": machine, "figures": figures });
    write(path, &format!("{report:#}\n"))
}

/// Writes a file and the folders that it lies in.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let written = parent.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| Error::new(ErrorKind::Unavailable, format!("cannot write {}: {error}", path.display())))
}
