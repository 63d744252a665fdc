//! llmd's default beside the best that llm-d has, scenario by scenario.

use std::fmt;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::console::Progress;
use super::runs::{self, Cost, Unit};
use super::stats::{half_interval, mean};
use crate::simulate::scenario::{Policy, Scenario};

/// llmd's own.
const OURS: &str = "llmd-default";

/// llm-d's, and what anybody has without a scheduler.
const THEIRS: [&str; 6] = ["llm-d-affinity", "llm-d-blend", "load", "precise", "random", "round-robin"];

/// The first of the seeds that it is shown on. It was chosen on those from 1.
const FIRST_SEED: u64 = 101;

/// llmd's default in one scenario.
#[derive(Clone, Debug)]
pub(super) struct Gain {
    scenario: String,
    /// The best of the others, by the mean over all seeds.
    best: &'static str,
    /// The objective of that one, and of llmd's.
    objectives: [f64; 2],
    /// By how many percent llmd's is better, for each seed.
    by_seed: Vec<f64>,
    /// By how many percent it is better than round robin.
    over_round_robin: f64,
}

/// llmd's default in every scenario.
#[derive(Clone, Debug, Default)]
pub(super) struct Gains {
    pub(super) each: Vec<Gain>,
    pub(super) cost: Cost,
}

/// Runs every policy in every scenario, which are labelled, with as many seeds.
pub(super) fn gains(scenarios: &[(String, Scenario)], seeds: u64) -> Result<Gains> {
    let policy = |name: &str| {
        let missing = || Error::new(ErrorKind::Internal, format!("policy {name} is not there"));
        Policy::built_in(name).ok_or_else(missing)
    };
    let policies = THEIRS.into_iter().chain([OURS]).map(policy).collect::<Result<Vec<_>>>()?;
    let mut units = Vec::new();
    for (_, scenario) in scenarios {
        for policy in &policies {
            for seed in FIRST_SEED..FIRST_SEED + seeds {
                units.push(Unit { scenario, fleet: &scenario.fleet, policy, seed, explains: false });
            }
        }
    }
    let progress = Progress::new("llmd-default", units.len());
    let (objectives, cost) = runs::all(&units, &progress, |unit, outcome| unit.scenario.objective.of(&outcome))?;
    progress.end();
    let mut objectives = objectives.chunks(seeds as usize);
    let each = scenarios.iter().map(|(label, scenario)| {
        let theirs: Vec<_> = THEIRS.iter().map(|_| objectives.next().unwrap_or_default()).collect();
        Gain::new(label, scenario, &theirs, objectives.next().unwrap_or_default())
    });
    Ok(Gains { each: each.collect(), cost })
}

impl Gain {
    fn new(label: &str, scenario: &Scenario, theirs: &[&[f64]], ours: &[f64]) -> Self {
        let more = scenario.objective.more_is_better();
        let percent = |ours: f64, theirs: f64| (if more { ours / theirs } else { theirs / ours } - 1.0) * 100.0;
        let best = (0..theirs.len()).max_by(|&a, &b| {
            let (a, b) = (mean(theirs[a]), mean(theirs[b]));
            if more { a.total_cmp(&b) } else { b.total_cmp(&a) }
        });
        let best = best.unwrap_or_default();
        let round_robin = theirs.last().map_or(f64::NAN, |objectives| mean(objectives));
        Self {
            scenario: label.to_owned(),
            best: THEIRS[best],
            objectives: [mean(theirs[best]), mean(ours)],
            by_seed: ours.iter().zip(theirs[best]).map(|(&ours, &theirs)| percent(ours, theirs)).collect(),
            over_round_robin: percent(mean(ours), round_robin),
        }
    }
}

impl Gains {
    /// Figures by name.
    pub(super) fn figures(&self, figures: &mut Map<String, Value>) {
        for gain in &self.each {
            let key = gain.scenario.replace('-', "_");
            figures.insert(format!("llmd_default.gain_percent.{key}"), json!(mean(&gain.by_seed)));
            figures.insert(format!("llmd_default.gain_interval.{key}"), json!(half_interval(&gain.by_seed)));
            figures.insert(format!("llmd_default.over_round_robin_percent.{key}"), json!(gain.over_round_robin));
            if gain.scenario == "ladder-a" {
                figures.insert("llmd_default.ladder_a".to_owned(), json!(gain.objectives[1]));
            }
        }
    }
}

/// A row per scenario.
impl fmt::Display for Gains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:16} {:>14} {:>12} {:>12} {:>18} {:>13}",
            "llmd-default", "best of llm-d", "its", "ours", "gain %", "over r. robin"
        )?;
        for gain in &self.each {
            let [theirs, ours] = gain.objectives;
            let (percent, interval) = (mean(&gain.by_seed), half_interval(&gain.by_seed));
            writeln!(
                f,
                "{:16} {:>14} {theirs:>12.2} {ours:>12.2} {percent:>+9.1} ± {interval:<6.1} {:>+13.1}",
                gain.scenario, gain.best, gain.over_round_robin
            )?;
        }
        write!(f, "chosen on seeds from 1, shown on seeds from {FIRST_SEED}; paired by seed, with a 95 % interval")
    }
}
