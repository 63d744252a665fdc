//! Why this endpoint.

mod json;
mod table;

use std::cmp::Ordering;

use super::decision::Decision;
use crate::plugin::PrefixMatch;
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
}

/// What became of an endpoint in a profile.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fate {
    /// A filter took it out.
    Dropped {
        /// The filter's name.
        by: String,
    },
    /// It was scored and ranked.
    Ranked {
        /// What each scorer said, before weights.
        scores: Vec<f64>,
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
    let chosen = if std::ptr::eq(run, decision.run()) { decision.tried } else { 0 };
    let columns = run.places.len();
    let endpoint = |place: usize, fate| EndpointExplanation {
        endpoint: decision.pool[place].name().to_owned(),
        fate,
        prefix: decision.attributes.prefix_match(place).copied(),
    };
    let ranked = run.ranked.iter().enumerate().map(|(rank, column)| {
        let scores = run.scores.chunks_exact(columns).map(|row| row[column]).take(profile.scorers().len()).collect();
        let turn = match rank.cmp(&chosen) {
            Ordering::Less => Turn::Failed,
            Ordering::Equal => Turn::Chosen,
            Ordering::Greater => Turn::Waiting,
        };
        let picked = rank < run.ranked.picked();
        endpoint(run.places[column] as usize, Fate::Ranked { scores, total: run.totals()[column], picked, turn })
    });
    let dropped = run.dropped.iter().map(|dropped| {
        let by = profile.filters().nth(usize::from(dropped.filter)).unwrap_or_default().to_owned();
        endpoint(dropped.place as usize, Fate::Dropped { by })
    });
    ProfileExplanation {
        name: profile.name().to_owned(),
        picker: profile.picker().to_owned(),
        scorers: profile.scorers().map(|(name, weight)| (name.to_owned(), weight)).collect(),
        endpoints: ranked.chain(dropped).collect(),
    }
}
