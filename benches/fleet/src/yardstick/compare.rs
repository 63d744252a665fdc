//! Any configurations beside each other, on the same seeds.

use std::fmt;
use std::ops::Range;

use llmd_core::Result;
use serde_json::{Map, Value, json};

use super::console::Progress;
use super::runs::{self, Cost, Unit};
use super::stats::{deviation, half_interval, mean, percentile};
use crate::simulate::Outcome;
use crate::simulate::scenario::{Policy, Scenario};

/// What one run came to.
#[derive(Clone, Debug)]
struct Measured {
    objective: f64,
    output_per_s: f64,
    /// Mean, median, and 90th and 99th percentile, in seconds.
    first_token: [f64; 4],
    whole: f64,
    /// The share of prompt tokens that engines found in their caches.
    hits: f64,
    /// The share of requests that were sent again.
    again: f64,
    why: Option<String>,
}

/// One policy in one scenario.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) policy: String,
    runs: Vec<Measured>,
    /// By how many percent the objective is better than the first policy's, for each seed.
    gains: Vec<f64>,
}

/// All policies in one scenario.
#[derive(Clone, Debug)]
pub(super) struct Contest<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) contenders: Vec<Contender>,
}

/// Everything that was compared.
#[derive(Clone, Debug)]
pub(super) struct Comparison<'a> {
    pub(super) contests: Vec<Contest<'a>>,
    pub(super) cost: Cost,
}

impl Measured {
    fn of(scenario: &Scenario, outcome: Outcome) -> Self {
        let served = || outcome.served();
        let mut first_token: Vec<_> = served().map(|served| served.first_token.as_secs_f64()).collect();
        first_token.sort_by(f64::total_cmp);
        let whole: Vec<_> = served().map(|served| served.whole.as_secs_f64()).collect();
        let sum = |of: fn(&crate::simulate::Served) -> f64| served().map(of).sum::<f64>();
        Self {
            objective: scenario.objective.of(&outcome),
            output_per_s: outcome.mean(crate::simulate::PhaseOutcome::output_per_s),
            first_token: [
                mean(&first_token),
                percentile(&first_token, 50.0),
                percentile(&first_token, 90.0),
                percentile(&first_token, 99.0),
            ],
            whole: mean(&whole),
            hits: sum(|served| f64::from(served.cached)) / sum(|served| f64::from(served.prompt)),
            again: sum(|served| f64::from(u16::from(served.again > 0))) / whole.len() as f64,
            why: outcome.worst.map(|worst| {
                let (waited, sent) = (worst.first_token.as_secs_f64(), worst.sent.as_secs_f64());
                format!(
                    "the slowest first token took {waited:.2} s, for {} tokens sent at {sent:.2} s:\n{}",
                    worst.prompt, worst.why
                )
            }),
        }
    }
}

impl Contender {
    fn values(&self, of: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.runs.iter().map(of).collect()
    }

    /// By how many percent it is better than the first, and half the width of the 95 % interval of that.
    pub(super) fn gain(&self) -> (f64, f64) {
        (mean(&self.gains), half_interval(&self.gains))
    }
}

/// Runs every policy in every scenario with these seeds.
pub(super) fn compare<'a>(scenarios: &'a [Scenario], policies: &[Policy], seeds: Range<u64>) -> Result<Comparison<'a>> {
    let mut units = Vec::new();
    for scenario in scenarios {
        for (place, policy) in policies.iter().enumerate() {
            for seed in seeds.clone() {
                let explains = place == 0 && seed == seeds.start;
                units.push(Unit { scenario, fleet: &scenario.fleet, policy, seed, explains });
            }
        }
    }
    let progress = Progress::new("compare", units.len());
    let (measured, cost) = runs::all(&units, &progress, |unit, outcome| Measured::of(unit.scenario, outcome))?;
    progress.end();
    let mut measured = measured.chunks(seeds.count());
    let contests = scenarios.iter().map(|scenario| {
        let runs: Vec<_> = policies.iter().map(|_| measured.next().unwrap_or_default().to_vec()).collect();
        let sign = if scenario.objective.more_is_better() { 1.0 } else { -1.0 };
        let gain = |(run, first): (&Measured, &Measured)| sign * (run.objective / first.objective).ln();
        let contenders = policies.iter().zip(&runs).map(|(policy, of_policy)| Contender {
            policy: policy.name.clone(),
            runs: of_policy.clone(),
            gains: of_policy.iter().zip(&runs[0]).map(|pair| (gain(pair).exp() - 1.0) * 100.0).collect(),
        });
        Contest { scenario, contenders: contenders.collect() }
    });
    Ok(Comparison { contests: contests.collect(), cost })
}

impl Comparison<'_> {
    /// Figures by name.
    pub(super) fn figures(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        for Contest { scenario, contenders } in &self.contests {
            for contender in contenders {
                let name = format!("{}.{}", scenario.name, contender.policy).replace('-', "_");
                let mut add = |what: &str, value: f64| {
                    figures.insert(format!("{what}.{name}"), json!(value));
                };
                add(&format!("objective.{}", scenario.objective.key()), mean(&contender.values(|run| run.objective)));
                add("out_tok_s", mean(&contender.values(|run| run.output_per_s)));
                for (n, what) in ["ttft_mean_s", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s"].into_iter().enumerate() {
                    add(what, mean(&contender.values(|run| run.first_token[n])));
                }
                add("e2e_mean_s", mean(&contender.values(|run| run.whole)));
                add("hit_rate", mean(&contender.values(|run| run.hits)));
                let (gain, interval) = contender.gain();
                add("gain_percent", gain);
                add("gain_interval", interval);
            }
        }
        for (policy, gain) in self.overall() {
            figures.insert(format!("gain_percent.all.{}", policy.replace('-', "_")), json!(gain));
        }
        figures.insert("requests_per_minute".to_owned(), json!(self.cost.requests_per_minute()));
        figures
    }

    /// The gain of each policy over all scenarios: the geometric mean.
    pub(super) fn overall(&self) -> Vec<(&str, f64)> {
        let Some(first) = self.contests.first() else { return Vec::new() };
        let places = first.contenders.iter().enumerate();
        let overall = places.map(|(place, contender)| {
            let logs = self.contests.iter().map(|contest| (contest.contenders[place].gain().0 / 100.0).ln_1p());
            (contender.policy.as_str(), (mean(&logs.collect::<Vec<_>>()).exp() - 1.0) * 100.0)
        });
        overall.collect()
    }

    /// Why the slowest request of each scenario went where it went, under the first policy.
    pub(super) fn slowest(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.contests.iter().filter_map(|contest| {
            let run = contest.contenders.first()?.runs.first()?;
            Some((contest.scenario.name, run.why.as_deref()?))
        })
    }
}

/// A table for each scenario, and one for all of them.
impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Contest { scenario, contenders } in &self.contests {
            writeln!(f, "\n{}: {}", scenario.name, scenario.about)?;
            let better = if scenario.objective.more_is_better() { "more" } else { "less" };
            writeln!(
                f,
                "objective: {}, {better} is better; gain in percent, with a 95 % interval",
                scenario.objective.words()
            )?;
            writeln!(
                f,
                "{:24} {:>18} {:>16} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}",
                "policy", "objective", "gain", "out tok/s", "TTFT", "p50", "p90", "p99", "E2E", "hits"
            )?;
            for contender in contenders {
                let objective = contender.values(|run| run.objective);
                let digits = if mean(&objective) < 1000.0 { 2 } else { 0 };
                let (gain, interval) = contender.gain();
                let of = |of: fn(&Measured) -> f64| mean(&contender.values(of));
                let interval = if interval.is_nan() { String::new() } else { format!(" ± {interval:.1}") };
                writeln!(
                    f,
                    "{:24} {:>9.digits$} ± {:<6.digits$} {:>16} {:>9.0} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>5.1}%{}",
                    contender.policy,
                    mean(&objective),
                    deviation(&objective),
                    format!("{gain:+.1}{interval}"),
                    of(|run| run.output_per_s),
                    of(|run| run.first_token[0]),
                    of(|run| run.first_token[1]),
                    of(|run| run.first_token[2]),
                    of(|run| run.first_token[3]),
                    of(|run| run.whole),
                    of(|run| run.hits * 100.0),
                    again(of(|run| run.again)),
                )?;
            }
        }
        if self.contests.len() > 1 {
            writeln!(f, "\nover all {} scenarios, geometric mean of the gains", self.contests.len())?;
            for (policy, gain) in self.overall() {
                writeln!(f, "{policy:24} {gain:+.1} %")?;
            }
        }
        Ok(())
    }
}

fn again(share: f64) -> String {
    if share > 0.0 { format!("  {:.1} % sent again", share * 100.0) } else { String::new() }
}
