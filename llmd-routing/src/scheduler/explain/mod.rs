//! Why this endpoint.

mod json;
mod table;

use std::cmp::Ordering;

use super::decision::Decision;
use crate::plugin::{PrefixMatch, Stage, candidate};
use crate::profile::Run;

/// Why a request went where it went: what each profile that ran made of each endpoint.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The endpoint that the request goes to.
    pub endpoint: String,
    /// The profile that decided.
    pub profile: String,
    /// Every profile that ran, in order.
    pub profiles: Vec<ProfileExplanation>,
}

/// What one profile made of each endpoint.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProfileExplanation {
    /// Its name.
    pub name: String,
    /// The stage that it chooses for.
    pub stage: Stage,
    /// The name of its picker.
    pub picker: String,
    /// The names and weights of its scorers, in order.
    pub scorers: Vec<(String, f64)>,
    /// What became of each endpoint of the pool: first those that were ranked, best first.
    pub endpoints: Vec<EndpointExplanation>,
}

/// What a profile made of one endpoint.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointExplanation {
    /// Its name.
    pub endpoint: String,
    /// What became of it.
    pub fate: Fate,
    /// How much of the prompt it holds, as far as is known; `None` when no plugin looks at caches.
    pub prefix: Option<PrefixMatch>,
    /// Why that prefix ends where it does, as far as an index knows now.
    pub why: Option<String>,
}

/// What became of an endpoint in a profile.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fate {
    /// A filter, a screener or the profile handler took it out.
    Dropped {
        /// That one's name.
        by: String,
    },
    /// It was scored and ranked.
    Ranked {
        /// What each scorer said, before weights.
        scores: Vec<f64>,
        /// What each scorer looked at, in a few words; `None` where it does not say.
        inputs: Vec<Option<String>>,
        /// The weighted sum.
        total: f64,
        /// Whether the picker picked it; the others follow by score, for retries.
        picked: bool,
        /// What came of it when it was its turn.
        turn: Turn,
    },
}

/// Whether a ranked endpoint was tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Turn {
    /// The request goes there.
    Chosen,
    /// It failed before its first byte.
    Failed,
    /// It was not needed.
    Waiting,
}

impl Decision {
    /// Why this endpoint.
    pub fn explain(&self) -> Explanation {
        Explanation {
            endpoint: self.endpoint().name().to_owned(),
            profile: self.parts.names[self.run().profile].clone(),
            profiles: self.runs.iter().map(|run| profile(self, run)).collect(),
        }
    }
}

fn profile(decision: &Decision, run: &Run) -> ProfileExplanation {
    let profile = &decision.parts.profiles[run.profile];
    let chosen = run.tried;
    let columns = run.places.len();
    let endpoint = |place: usize, fate| EndpointExplanation {
        endpoint: decision.pool[place].name().to_owned(),
        fate,
        prefix: decision.attributes.prefix_match(place).copied(),
        why: decision.attributes.why(&decision.pool[place]),
    };
    let ranked = run.order().iter().enumerate().map(|(rank, column)| {
        let scores = run.scores.chunks_exact(columns).map(|row| row[column]).take(profile.scorers().len()).collect();
        let turn = match rank.cmp(&chosen) {
            Ordering::Less => Turn::Failed,
            Ordering::Equal => Turn::Chosen,
            Ordering::Greater => Turn::Waiting,
        };
        let picked = rank < run.picks.picked();
        let seen = candidate(&decision.pool, &decision.snapshot, run.places[column]);
        let inputs = profile.scoring().map(|scorer| scorer.input(&decision.attributes, &seen)).collect();
        let total = run.totals()[column];
        endpoint(run.places[column] as usize, Fate::Ranked { scores, inputs, total, picked, turn })
    });
    let dropped = decision.screened.iter().chain(&run.dropped).map(|dropped| {
        let by = decision.parts.taken_out_by(run, dropped.by).to_owned();
        endpoint(dropped.place as usize, Fate::Dropped { by })
    });
    ProfileExplanation {
        name: profile.name().to_owned(),
        stage: run.stage,
        picker: profile.picker().to_owned(),
        scorers: profile.scorers().map(|(name, weight)| (name.to_owned(), weight)).collect(),
        endpoints: ranked.chain(dropped).collect(),
    }
}
