//! `inflight-load-producer`: how many requests and tokens each endpoint has to work on, counted when they are sent.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::duration::GoDuration;
use crate::in_flight::Place;
use crate::request::expected_output;
use crate::{Endpoint, InFlightGuard};

/// How long a reservation lasts that nobody gives back.
const TTL: Duration = Duration::from_secs(600);

/// How requests in flight are counted.
///
/// A request counts as one from the moment its endpoint is chosen until it ends. The tokens of its prompt that the endpoint
/// has to compute, `prompt − hit`, count until the first token comes back; with an [`OutputEstimate`], they and the tokens
/// that it is expected to make count until it ends.
///
/// llm-d counts `(total − match) · block + rest`, where `match` is weighted by tier, and at every endpoint that a profile
/// chose; here `hit` is what the engine takes from its cache, whole blocks and never the last token, and the prompt counts
/// where it is computed: of a request that is prefilled elsewhere, an endpoint that decodes has no tokens to compute.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InFlightLoad {
    /// The producer that knows how much of a prompt is cached; without one, the first that a plugin reads, or there is.
    pub prefix_producer: Option<String>,
    /// Whether tokens that are yet to be made count too, and how many those are.
    pub output: Option<OutputEstimate>,
    /// From when a request counts.
    pub reserve: Reserve,
    /// How long it counts when nobody says that it goes on or has ended. Default: 10 minutes.
    pub ttl: Duration,
}

/// From when a request counts at its endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reserve {
    /// From the moment the endpoint is chosen: requests that arrive together see each other.
    #[default]
    AtPick,
    /// From when the caller says that it is [`sent`](crate::Decision::sent), as in llm-d: requests that arrive together may all
    /// choose the same endpoint.
    WhenSent,
}

impl Default for InFlightLoad {
    fn default() -> Self {
        Self { prefix_producer: None, output: None, reserve: Reserve::default(), ttl: TTL }
    }
}

/// How many tokens a request is expected to make: `round(prompt · ratio)`, at most `max` and at most what the client asks
/// for; and what they count.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the formula has these three parameters")]
pub struct OutputEstimate {
    /// Tokens made per token of the prompt.
    pub ratio: f64,
    /// At most this many.
    pub max: Option<u64>,
    /// For how many tokens of a prompt each of them counts. llm-d's is 1; an engine takes several times as long for a token
    /// that it makes as for one that it reads.
    pub cost: f64,
}

/// The parameters of `inflight-load-producer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    add_estimated_output_tokens: bool,
    output_ratio: f64,
    max_estimated_output_tokens: Option<u64>,
    /// llmd's own.
    output_token_cost: f64,
    prefix_match_info_producer_name: Option<String>,
    /// llmd's own.
    reserve: Reserve,
    /// llmd's own.
    #[serde(rename = "reservationTTL")]
    reservation_ttl: GoDuration,
    /// There is nobody to exchange counts with, neither here nor in llm-d's own tree.
    #[serde(rename = "syncCrossReplicaState")]
    _sync_cross_replica_state: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            add_estimated_output_tokens: false,
            output_ratio: 1.5,
            max_estimated_output_tokens: None,
            output_token_cost: 1.0,
            prefix_match_info_producer_name: None,
            reserve: Reserve::default(),
            reservation_ttl: GoDuration(TTL),
            _sync_cross_replica_state: true,
        }
    }
}

impl From<Parameters> for InFlightLoad {
    fn from(parameters: Parameters) -> Self {
        let estimate = OutputEstimate {
            ratio: parameters.output_ratio,
            max: parameters.max_estimated_output_tokens,
            cost: parameters.output_token_cost,
        };
        Self {
            prefix_producer: parameters.prefix_match_info_producer_name,
            output: parameters.add_estimated_output_tokens.then_some(estimate),
            reserve: parameters.reserve,
            ttl: parameters.reservation_ttl.0,
        }
    }
}

impl InFlightLoad {
    pub(crate) fn prefix_producer(&self) -> Option<&String> {
        self.prefix_producer.as_ref()
    }

    /// Counts a request in at `endpoint`, which has to compute so many tokens of its `prompt`. Where it `decodes`, the
    /// tokens that it is expected to make count as well.
    pub(crate) fn reserve(
        &self,
        endpoint: &Arc<Endpoint>,
        uncached: u64,
        prompt: u64,
        decodes: bool,
        max_output_tokens: Option<u32>,
    ) -> Reservation {
        let output = self.output.filter(|_| decodes).map_or(0, |estimate| estimate.tokens(prompt, max_output_tokens));
        let made = if decodes { expected_output(max_output_tokens) } else { 0 };
        let (tokens, context) = (uncached.saturating_add(output), prompt.saturating_add(made));
        let guard = endpoint.in_flight().admit_with_context(tokens, context);
        Reservation { guard, uncached, until_end: self.output.is_some() }
    }
}

impl OutputEstimate {
    fn tokens(self, prompt: u64, asked: Option<u32>) -> u64 {
        let expected = (prompt as f64 * self.ratio).round() as u64;
        let tokens = expected.min(self.max.unwrap_or(u64::MAX)).min(asked.map_or(u64::MAX, u64::from));
        (tokens as f64 * self.cost).round() as u64
    }
}

/// A request that is counted until this drops, and tokens that are counted until the first one comes back.
#[derive(Debug)]
pub struct Reservation {
    guard: InFlightGuard,
    /// Tokens of the prompt that are computed there.
    uncached: u64,
    until_end: bool,
}

impl Reservation {
    /// The place that it holds.
    pub(crate) const fn place(&self) -> &Arc<Place> {
        self.guard.place()
    }

    /// The prompt has been computed. To be said once.
    pub fn first_token(&self) {
        self.guard.computed(self.uncached);
        if !self.until_end {
            self.guard.release_tokens();
        }
    }
}
