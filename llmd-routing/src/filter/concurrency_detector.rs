//! `concurrency-detector`: endpoints to which not too much was sent.

use std::time::Duration;

use serde::Deserialize;

use super::saturation::{limit, mean, used};
use crate::Load;
use crate::plugin::{Candidates, Context, Data, Detector, Filter, Plugin};

/// Keeps the candidates that have less in flight than `⌊max · (1 + headroom)⌋`: requests, tokens or both.
///
/// Formula: llm-d's `concurrency-detector`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConcurrencyDetector {
    /// What is counted. Default: requests.
    pub mode: ConcurrencyMode,
    /// How many requests fill an endpoint. Default: 100.
    pub max_concurrency: u64,
    /// How many tokens fill an endpoint. Default: 1,000,000.
    pub max_token_concurrency: u64,
    /// How much more than that the filter lets through, as a share. Default: 0.
    pub headroom: f64,
}

/// What fills an endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ConcurrencyMode {
    /// Requests or tokens, whatever is nearer to its limit.
    Hybrid,
    /// Requests.
    #[default]
    Requests,
    /// Tokens of prompts that are not computed yet.
    Tokens,
}

/// The parameters of `concurrency-detector`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) max_concurrency: u64,
    pub(crate) max_token_concurrency: u64,
    pub(crate) concurrency_mode: ConcurrencyMode,
    pub(crate) headroom: f64,
    /// There is one count of what is in flight, whatever its producer is called.
    #[serde(rename = "inFlightLoadProducerName")]
    _in_flight_load_producer_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        let ConcurrencyDetector { mode, max_concurrency, max_token_concurrency, headroom } =
            ConcurrencyDetector::default();
        Self {
            max_concurrency,
            max_token_concurrency,
            concurrency_mode: mode,
            headroom,
            _in_flight_load_producer_name: None,
        }
    }
}

impl Default for ConcurrencyDetector {
    fn default() -> Self {
        Self { mode: ConcurrencyMode::default(), max_concurrency: 100, max_token_concurrency: 1_000_000, headroom: 0.0 }
    }
}

impl From<Parameters> for ConcurrencyDetector {
    fn from(parameters: Parameters) -> Self {
        let Parameters { max_concurrency, max_token_concurrency, concurrency_mode: mode, headroom, .. } = parameters;
        Self { mode, max_concurrency, max_token_concurrency, headroom }
    }
}

impl ConcurrencyDetector {
    /// How full an endpoint is. As all have the same capacity, the mean of these is the ratio of the sums.
    fn used(&self, load: Load) -> f64 {
        let requests = used(load.requests as f64, self.max_concurrency as f64);
        let tokens = used(load.tokens as f64, self.max_token_concurrency as f64);
        match self.mode {
            ConcurrencyMode::Hybrid => requests.max(tokens),
            ConcurrencyMode::Requests => requests,
            ConcurrencyMode::Tokens => tokens,
        }
    }

    fn admits(&self, load: Load) -> bool {
        let requests = (load.requests as f64) < limit(self.max_concurrency as f64, self.headroom).floor();
        let tokens = (load.tokens as f64) < limit(self.max_token_concurrency as f64, self.headroom).floor();
        match self.mode {
            ConcurrencyMode::Hybrid => requests && tokens,
            ConcurrencyMode::Requests => requests,
            ConcurrencyMode::Tokens => tokens,
        }
    }
}

impl Plugin for ConcurrencyDetector {
    fn reads(&self) -> Vec<Data> {
        vec![match self.mode {
            ConcurrencyMode::Hybrid | ConcurrencyMode::Tokens => Data::InFlightTokens,
            ConcurrencyMode::Requests => Data::InFlightRequests,
        }]
    }

    fn settings(&self) -> String {
        let Self { mode, max_concurrency, max_token_concurrency, headroom } = self;
        let full = match mode {
            ConcurrencyMode::Hybrid => format!("{max_concurrency} requests or {max_token_concurrency} tokens"),
            ConcurrencyMode::Requests => format!("{max_concurrency} requests"),
            ConcurrencyMode::Tokens => format!("{max_token_concurrency} tokens"),
        };
        format!("full with {full}, headroom {headroom}")
    }
}

impl Filter for ConcurrencyDetector {
    fn filter(&self, _: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|candidate| self.admits(candidate.load));
    }
}

impl Detector for ConcurrencyDetector {
    /// `Σ in flight / Σ capacity`, and in hybrid mode the mean of what is nearer to its limit at each. Without candidates it
    /// is 1.
    fn saturation(&self, candidates: &Candidates<'_>, _: Duration) -> f64 {
        mean(candidates.iter().map(|candidate| self.used(candidate.load)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;
    use crate::plugin::{Attributes, Snapshot};
    use crate::testing::{kept, pool, request};

    /// Three endpoints with 2, 4 and 5 requests of 100, 300 and 0 tokens in flight.
    fn busy() -> (Pool, Vec<crate::InFlightGuard>) {
        let pool = pool(3);
        let table = [(0, 2, 50), (1, 4, 75), (2, 5, 0)];
        let admit = |(place, requests, tokens): (usize, usize, u64)| {
            (0..requests).map(|_| pool[place].in_flight().admit(tokens)).collect::<Vec<_>>()
        };
        let guards = table.into_iter().flat_map(admit).collect();
        (pool, guards)
    }

    fn detector(mode: ConcurrencyMode, headroom: f64) -> ConcurrencyDetector {
        ConcurrencyDetector { mode, max_concurrency: 4, max_token_concurrency: 250, headroom }
    }

    #[test]
    fn those_below_their_limit_are_kept() {
        let (pool, _guards) = busy();
        let table: [(ConcurrencyMode, f64, &[&str]); 7] = [
            (ConcurrencyMode::Requests, 0.0, &["engine-0"]),
            // ⌊4 · 1.2⌋ is still 4.
            (ConcurrencyMode::Requests, 0.2, &["engine-0"]),
            (ConcurrencyMode::Requests, 0.25, &["engine-0", "engine-1"]),
            (ConcurrencyMode::Tokens, 0.0, &["engine-0", "engine-2"]),
            (ConcurrencyMode::Tokens, 0.3, &["engine-0", "engine-1", "engine-2"]),
            (ConcurrencyMode::Hybrid, 0.0, &["engine-0"]),
            (ConcurrencyMode::Hybrid, 0.5, &["engine-0", "engine-1", "engine-2"]),
        ];
        for (mode, headroom, expected) in table {
            let kept = kept(&detector(mode, headroom), &request([]), &pool, &Attributes::default());
            assert_eq!(kept, expected, "{mode:?} {headroom}");
        }
    }

    #[test]
    fn saturation_is_what_is_in_flight_of_what_there_is_room_for() {
        let (pool, _guards) = busy();
        let snapshot = Snapshot::of(&pool);
        let table = [
            (ConcurrencyMode::Requests, 11.0 / 12.0),
            (ConcurrencyMode::Tokens, 400.0 / 750.0),
            // The means of 0.5 and 0.4, 1 and 1.2, 1.25 and 0, by the larger of each.
            (ConcurrencyMode::Hybrid, (0.5 + 1.2 + 1.25) / 3.0),
        ];
        for (mode, expected) in table {
            // Headroom is for the filter alone.
            let saturation = detector(mode, 0.5).saturation(&Candidates::new(&pool, &snapshot), Duration::ZERO);
            assert!((saturation - expected).abs() < 1e-12, "{mode:?}: {saturation}");
        }
        let nobody = Snapshot::default();
        assert_eq!(
            detector(ConcurrencyMode::Requests, 0.0).saturation(&Candidates::new(&[], &nobody), Duration::ZERO),
            1.0
        );
    }
}
