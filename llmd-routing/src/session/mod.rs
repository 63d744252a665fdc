//! Where a session belongs: three ways to know.

mod bindings;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::plugin::{Candidates, Hooks, Picked};
use crate::{Endpoint, Headers, Request};
use bindings::Bindings;

const TOKEN_HEADER: &str = "x-session-token";
const SESSION_HEADER: &str = "x-session-id";

/// How it is known where a session belongs.
#[derive(Debug)]
pub struct Affinity {
    strategy: Strategy,
    header: String,
}

#[derive(Debug)]
enum Strategy {
    /// The client says it, in a header that it was given: the endpoint's name in base64. llm-d's.
    EncodedEndpoint,
    /// We remember it, by the session's id. llm-d's.
    Remembered(Bindings),
    /// It follows from the session's id and the names of the endpoints. llmd's own.
    Hash,
}

impl Affinity {
    /// The endpoint's name travels in `header`, in base64: every response carries it, and a request that brings it back
    /// goes there. llm-d's `encoded_endpoint_header`.
    pub fn encoded_endpoint(header: impl Into<String>) -> Self {
        Self { strategy: Strategy::EncodedEndpoint, header: lower(header) }
    }

    /// The id in `header` is bound to the endpoint that its first request went to, until five minutes pass without one. It
    /// is bound anew when that endpoint is gone. llm-d's `session_id`.
    pub fn remembered(header: impl Into<String>) -> Self {
        Self { strategy: Strategy::Remembered(Bindings::default()), header: lower(header) }
    }

    /// The id in `header` belongs to the endpoint whose name gives the highest hash with it (rendezvous hashing): nothing is
    /// remembered, every replica agrees, and an endpoint that goes moves only its own sessions. llmd's own `session_hash`.
    pub fn hash(header: impl Into<String>) -> Self {
        Self { strategy: Strategy::Hash, header: lower(header) }
    }

    /// The place in the pool of the candidate that the request's session belongs to.
    pub(crate) fn home(&self, request: &Request, now: Duration, candidates: &Candidates<'_>) -> Option<usize> {
        let session = request.headers.get(&self.header)?;
        let found = match &self.strategy {
            Strategy::EncodedEndpoint => {
                candidates.iter().find(|candidate| token::names(session, candidate.endpoint.name()))
            }
            Strategy::Remembered(bindings) => {
                let bound = bindings.get(session, now)?;
                candidates.iter().find(|candidate| *candidate.endpoint.name() == *bound)
            }
            Strategy::Hash => candidates.iter().max_by_key(|candidate| rendezvous(session, candidate.endpoint)),
        };
        found.map(|candidate| candidate.place)
    }

    /// What must be told later for a request of a session.
    pub(crate) fn follow(this: &Arc<Self>, request: &Request) -> Option<Box<dyn Hooks>> {
        let session = request.headers.get(&this.header);
        match this.strategy {
            Strategy::EncodedEndpoint => Some(Box::new(Token { affinity: Arc::clone(this) })),
            Strategy::Remembered(_) => {
                Some(Box::new(Remember { affinity: Arc::clone(this), session: session?.to_owned() }))
            }
            Strategy::Hash => None,
        }
    }

    /// How many sessions were forgotten because too many were remembered.
    pub(crate) fn dropped(&self) -> u64 {
        match &self.strategy {
            Strategy::EncodedEndpoint | Strategy::Hash => 0,
            Strategy::Remembered(bindings) => bindings.dropped(),
        }
    }
}

/// The strategy and the header.
impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = match self.strategy {
            Strategy::EncodedEndpoint => "encoded_endpoint_header",
            Strategy::Remembered(_) => "session_id",
            Strategy::Hash => "session_hash",
        };
        write!(f, "{strategy} by header {}", self.header)
    }
}

fn lower(header: impl Into<String>) -> String {
    header.into().to_ascii_lowercase()
}

/// The higher, the more the session belongs there.
fn rendezvous(session: &str, endpoint: &Endpoint) -> u64 {
    let halves = [xxh3_64(session.as_bytes()), xxh3_64(endpoint.name().as_bytes())];
    let mut both = [0; 16];
    both[..8].copy_from_slice(&halves[0].to_le_bytes());
    both[8..].copy_from_slice(&halves[1].to_le_bytes());
    xxh3_64(&both)
}

/// Gives the client the name of its endpoint.
#[derive(Debug)]
struct Token {
    affinity: Arc<Affinity>,
}

impl Hooks for Token {
    fn response_headers(&self, endpoint: &Endpoint, headers: &mut Headers) {
        headers.insert(self.affinity.header.clone(), token::encode(endpoint.name()));
    }
}

/// Binds the session to where its request goes.
#[derive(Debug)]
struct Remember {
    affinity: Arc<Affinity>,
    session: String,
}

impl Hooks for Remember {
    fn picked(&mut self, picked: &Picked<'_>) {
        let Strategy::Remembered(bindings) = &self.affinity.strategy else { return };
        let there = |name: &str| picked.pool.iter().any(|endpoint| endpoint.name() == name);
        bindings.bind(&self.session, picked.endpoint.name(), picked.now, there);
    }
}

/// The parameters of the session plugins.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    strategy: StrategyName,
    encoded_endpoint_header_config: HeaderConfig,
    pub(crate) session_id_config: SessionIdConfig,
    session_hash_config: HeaderConfig,
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) profile_name: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum StrategyName {
    #[default]
    EncodedEndpointHeader,
    SessionHash,
    SessionId,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct HeaderConfig {
    header: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionIdConfig {
    pub(crate) sources: Vec<Source>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Source {
    header: Option<String>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) attribute: Option<String>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    #[serde(rename = "producer")]
    _producer: Option<String>,
}

impl Parameters {
    /// What they say.
    pub(crate) fn affinity(&self) -> Affinity {
        let or = |header: &Option<String>, default: &str| header.as_deref().unwrap_or(default).to_owned();
        match self.strategy {
            StrategyName::EncodedEndpointHeader => {
                Affinity::encoded_endpoint(or(&self.encoded_endpoint_header_config.header, TOKEN_HEADER))
            }
            StrategyName::SessionHash => Affinity::hash(or(&self.session_hash_config.header, SESSION_HEADER)),
            StrategyName::SessionId => {
                let source = self.session_id_config.sources.first().and_then(|source| source.header.clone());
                Affinity::remembered(or(&source, SESSION_HEADER))
            }
        }
    }
}
