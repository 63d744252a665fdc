//! The published tables beside what the simulation makes of the same loads.

use std::fmt;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::console::Progress;
use super::runs::{self, Cost, Unit};
use super::stats::{deviation, mean};
use crate::simulate::scenario::{Arm, Measure, Policy, Row, Scenario};

/// Policies that were published closer to each other than this are not told apart: the 37 % and the 73 % report order
/// random and load-based routing differently, by 4 % each.
const TIE_PERCENT: f64 = 5.0;

/// One published figure and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) scenario: &'static str,
    pub(super) figure: String,
    pub(super) row: Row,
    /// By seed.
    pub(super) simulated: Vec<f64>,
}

/// Whether the policies of a table come in the order in which they were published.
#[derive(Clone, Debug)]
pub(super) struct Ranking {
    pub(super) scenario: String,
    /// Each arm with its published and its simulated figure.
    arms: Vec<(&'static str, f64, f64)>,
}

/// Everything that was compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Validation {
    pub(super) rows: Vec<Judged>,
    /// Figures that were simulated and never published.
    pub(super) beside: Vec<(String, Vec<f64>)>,
    pub(super) rankings: Vec<Ranking>,
    pub(super) cost: Cost,
}

impl Judged {
    pub(super) fn mean(&self) -> f64 {
        mean(&self.simulated)
    }

    /// How far the simulation is from what was published, in percent.
    pub(super) fn difference(&self) -> f64 {
        (self.mean() / self.row.published - 1.0) * 100.0
    }

    /// Whether it is out of tolerance.
    pub(super) fn fails(&self) -> bool {
        self.row.within.is_some_and(|percent| self.difference().abs() > percent)
    }
}

impl Ranking {
    /// Whether the simulation says of every two policies what was published of them. Of two that were published within
    /// [`TIE_PERCENT`] of each other it need not say anything.
    pub(super) fn is_right(&self) -> bool {
        let pairs = self
            .arms
            .iter()
            .enumerate()
            .flat_map(|(n, first)| self.arms[n + 1..].iter().map(move |last| (first, last)));
        let told = pairs.filter(|((_, first, _), (_, last, _))| (first / last - 1.0).abs() * 100.0 > TIE_PERCENT);
        told.into_iter().all(|((_, published, simulated), (_, other, than))| (published > other) == (simulated > than))
    }

    /// The arms, best first by `figure`.
    fn order(&self, figure: fn(&(&'static str, f64, f64)) -> f64) -> String {
        let mut arms = self.arms.clone();
        arms.sort_by(|a, b| figure(b).total_cmp(&figure(a)));
        arms.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" > ")
    }

    fn published(&self) -> String {
        self.order(|arm| arm.1)
    }

    fn simulated(&self) -> String {
        self.order(|arm| arm.2)
    }
}

/// Runs every arm of these scenarios with as many seeds.
pub(super) fn validate(scenarios: &[Scenario], seeds: u64) -> Result<Validation> {
    let policies = scenarios.iter().map(|scenario| {
        let policy = |arm: &Arm| {
            Policy::built_in(arm.policy)
                .ok_or_else(|| Error::new(ErrorKind::Internal, format!("policy {} is not there", arm.policy)))
        };
        scenario.arms.iter().map(policy).collect::<Result<Vec<_>>>()
    });
    let policies = policies.collect::<Result<Vec<_>>>()?;
    let mut units = Vec::new();
    for (scenario, policies) in scenarios.iter().zip(&policies) {
        for (arm, policy) in scenario.arms.iter().zip(policies) {
            for seed in 1..=seeds {
                units.push(Unit { scenario, fleet: &arm.fleet, policy, seed, explains: false });
            }
        }
    }
    let progress = Progress::new("validate", units.len());
    let (figures, cost) = runs::all(&units, &progress, |unit, outcome| {
        let arm = unit.scenario.arms.iter().find(|arm| std::ptr::eq(&raw const arm.fleet, unit.fleet));
        let rows = arm.map_or(&[][..], |arm| &arm.rows);
        let rows = rows.iter().map(|row| row.simulated(&outcome).unwrap_or(f64::NAN)).collect::<Vec<_>>();
        (rows, unit.scenario.objective.of(&outcome))
    })?;
    progress.end();
    let mut figures = figures.chunks(seeds as usize);
    let mut validation = Validation { cost, ..Validation::default() };
    for scenario in scenarios {
        validation.add(scenario, &mut figures);
    }
    validation.rank_ladders();
    Ok(validation)
}

impl Validation {
    fn add<'a>(&mut self, scenario: &Scenario, figures: &mut impl Iterator<Item = &'a [(Vec<f64>, f64)]>) {
        let begin = self.rows.len();
        for arm in &scenario.arms {
            let Some(seeds) = figures.next() else { return };
            for (place, row) in arm.rows.iter().enumerate() {
                let simulated = seeds.iter().map(|(rows, _)| rows[place]).collect();
                let figure = figure(scenario, arm, row.measure, row.rate);
                self.rows.push(Judged { scenario: scenario.name, figure, row: row.clone(), simulated });
            }
            if arm.rows.iter().all(|row| row.rate.is_some()) {
                let values = seeds.iter().map(|(_, objective)| *objective).collect();
                self.beside.push((figure(scenario, arm, scenario.objective, None), values));
            }
        }
        self.rank(scenario, begin);
    }

    /// Ranks what the three scenarios with the load of the ladders came to, when all were run.
    fn rank_ladders(&mut self) {
        let arms = ["ladder_a", "ladder_b", "k8s"].map(|arm| {
            let figure = format!("{}.{arm}", Measure::OutputPerS.key());
            let judged = self.rows.iter().find(|judged| judged.figure == figure)?;
            Some((arm, judged.row.published, judged.mean()))
        });
        if let Some(arms) = arms.into_iter().collect() {
            self.rankings.push(Ranking { scenario: "ladder".to_owned(), arms });
        }
    }

    /// Ranks the arms of a scenario by the mean of all comparable rows of its objective.
    fn rank(&mut self, scenario: &Scenario, begin: usize) {
        let arms: Vec<_> = scenario.arms.iter().filter(|arm| !arm.rows.is_empty()).collect();
        let policies: Vec<_> = arms.iter().map(|arm| arm.policy).collect();
        if arms.len() < 2 || (policies.iter().all(|policy| *policy == policies[0]) && scenario.name != "tiered") {
            return;
        }
        let mut place = begin;
        let mut means = Vec::new();
        for arm in &arms {
            let rows = &self.rows[place..place + arm.rows.len()];
            place += arm.rows.len();
            let (mut published, mut simulated) = (Vec::new(), Vec::new());
            let whole = rows.iter().any(|judged| judged.row.rate.is_none());
            for judged in rows.iter().filter(|judged| judged.row.measure == scenario.objective) {
                if judged.row.rate.is_none() == whole {
                    published.push(judged.row.published);
                    simulated.push(judged.mean());
                }
            }
            means.push((arm.figure, mean(&published), mean(&simulated)));
        }
        self.rankings.push(Ranking { scenario: key(scenario.name), arms: means });
    }

    /// Whether the table that a figure of a stage stands in was published as a whole too.
    pub(super) fn has_whole(&self, of: &Judged) -> bool {
        self.rows.iter().any(|judged| judged.scenario == of.scenario && judged.row.rate.is_none())
    }

    /// Figures by name.
    pub(super) fn figures(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        for judged in &self.rows {
            figures.insert(judged.figure.clone(), json!(judged.mean()));
        }
        for judged in self.rows.iter().filter(|judged| judged.row.rate.is_none() || judged.row.within.is_some()) {
            figures.insert(format!("difference_percent.{}", judged.figure), json!(judged.difference()));
        }
        for (figure, values) in &self.beside {
            figures.insert(figure.clone(), json!(mean(values)));
        }
        for ranking in &self.rankings {
            figures.insert(format!("rank_order.{}", ranking.scenario), json!(u8::from(ranking.is_right())));
        }
        figures.insert("requests_per_minute".to_owned(), json!(self.cost.requests_per_minute()));
        figures.insert("requests".to_owned(), json!(self.cost.requests));
        figures
    }

    /// What is out of tolerance, one sentence each.
    pub(super) fn failures(&self) -> Vec<String> {
        let rows = self.rows.iter().filter(|judged| judged.fails()).map(|judged| {
            format!(
                "{} is {:.1}, {:+.1} % from {:.1}; {:.0} % are allowed",
                judged.figure,
                judged.mean(),
                judged.difference(),
                judged.row.published,
                judged.row.within.unwrap_or_default(),
            )
        });
        let rankings = self.rankings.iter().filter(|ranking| !ranking.is_right()).map(|ranking| {
            format!("{} ranks {}; published was {}", ranking.scenario, ranking.simulated(), ranking.published())
        });
        rows.chain(rankings).collect()
    }
}

/// What a figure is called.
fn figure(scenario: &Scenario, arm: &Arm, measure: Measure, rate: Option<f64>) -> String {
    let (measure, scenario_key) = (measure.key(), key(scenario.name));
    // Arms whose name says which table they are of stand by themselves.
    let stands_alone = ["k8s", "ladder-a", "ladder-b", "tiered"].contains(&scenario.name);
    let arm_key = if stands_alone { arm.figure.to_owned() } else { format!("{scenario_key}.{}", arm.figure) };
    match rate {
        None => format!("{measure}.{arm_key}"),
        Some(rate) if scenario.name == "tiered" => format!("{measure}.{arm_key}_{rate:.0}"),
        Some(rate) => format!("{measure}.{arm_key}.at_{rate:.0}"),
    }
}

fn key(name: &str) -> String {
    name.replace('-', "_")
}

/// Every row: published, simulated, difference.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scenario = "";
        for judged in &self.rows {
            if judged.scenario != scenario {
                scenario = judged.scenario;
                writeln!(f, "\n{scenario:38} {:>12} {:>20} {:>9}", "published", "simulated", "diff")?;
            }
            let (mean, deviation) = (judged.mean(), deviation(&judged.simulated));
            let digits = if judged.row.measure == Measure::FirstToken || judged.row.published < 100.0 { 2 } else { 0 };
            let verdict = match judged.row.within {
                Some(percent) if judged.fails() => format!("  out of {percent:.0} %"),
                Some(percent) => format!("  within {percent:.0} %"),
                None => String::new(),
            };
            writeln!(
                f,
                "{:38} {:>12.digits$} {:>11.digits$} ± {:<6.digits$} {:>+7.1} %{verdict}",
                judged.figure,
                judged.row.published,
                mean,
                deviation,
                judged.difference(),
            )?;
        }
        for (figure, values) in &self.beside {
            writeln!(f, "{figure:38} {:>12} {:>11.0} ± {:<6.0}", "-", mean(values), deviation(values))?;
        }
        writeln!(f)?;
        for ranking in &self.rankings {
            let (simulated, published) = (ranking.simulated(), ranking.published());
            let verdict = match (ranking.is_right(), simulated == published) {
                (true, true) => "as published".to_owned(),
                (true, false) => format!("published {published}, within {TIE_PERCENT:.0} %"),
                (false, _) => format!("published {published}"),
            };
            writeln!(f, "order of {:14} {simulated}: {verdict}", ranking.scenario)?;
        }
        write!(f, "\n{CANNOT}")
    }
}

const CANNOT: &str = "\
Not for the model to say: times to the first token below 200 ms (router, tokenizer and network take some 80 ms that are not
modelled), the time between tokens (some 20 % too short), tables of disaggregated prefill (handshakes and admission decide
there). Stages of low rates count the drain, which published tables do not always do. No constant is fitted to a table.";
