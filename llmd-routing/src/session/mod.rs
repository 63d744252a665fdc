//! Where a session belongs: three ways to know.

pub(crate) mod attribute;
mod bindings;
mod parameters;
mod source;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::plugin::{Attributes, Candidates, Context, Data, Hooks, Picked, Stage};
use crate::{Endpoint, Headers, Request, tenancy};
use bindings::Bindings;
pub(crate) use parameters::{Parameters, SourceConfig};
pub use source::Source;

/// How it is known where a session belongs. Sessions of different tenants are different, whatever they are called.
#[derive(Debug)]
pub struct Affinity {
    strategy: Strategy,
    /// Where the session, or the token, stands: the first that says something counts.
    sources: Vec<Source>,
    /// The profile whose endpoint a session belongs to; the one that decides, when `None`.
    profile: Option<String>,
}

#[derive(Debug)]
enum Strategy {
    /// The client says it, in this header, that it was given: the endpoint's name in base64. llm-d's.
    EncodedEndpoint(String),
    /// We remember it, by the session's id. llm-d's.
    Remembered(Bindings),
    /// It follows from the session's id and the names of the endpoints. llmd's own.
    Hash,
}

impl Affinity {
    /// The endpoint's name travels in `header`, in base64: every response carries it, and a request that brings it back
    /// goes there. llm-d's `encoded_endpoint_header`.
    pub fn encoded_endpoint(header: impl Into<String>) -> Self {
        let header = header.into().to_ascii_lowercase();
        let sources = vec![Source::Header(header.clone())];
        Self { strategy: Strategy::EncodedEndpoint(header), sources, profile: None }
    }

    /// The id in `header` is bound to the endpoint that its first request went to, until five minutes pass without one. It
    /// is bound anew when that endpoint is gone. llm-d's `session_id`.
    pub fn remembered(header: impl Into<String>) -> Self {
        Self {
            strategy: Strategy::Remembered(Bindings::default()),
            sources: vec![Source::header(header)],
            profile: None,
        }
    }

    /// The id in `header` belongs to the endpoint whose name gives the highest hash with it (rendezvous hashing): nothing is
    /// remembered, every replica agrees, and an endpoint that goes moves only its own sessions. llmd's own `session_hash`.
    pub fn hash(header: impl Into<String>) -> Self {
        Self { strategy: Strategy::Hash, sources: vec![Source::header(header)], profile: None }
    }

    /// The same, where the id is what the first of these says that says something; none of them changes nothing.
    #[must_use]
    pub fn with_sources(self, sources: Vec<Source>) -> Self {
        if sources.is_empty() { self } else { Self { sources, ..self } }
    }

    /// The same, where a session is remembered for so long after its last request.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        match self.strategy {
            Strategy::Remembered(_) => Self { strategy: Strategy::Remembered(Bindings::new(ttl)), ..self },
            _ => self,
        }
    }

    /// The same, where a session belongs to the endpoint that the profile of this name chooses.
    #[must_use]
    pub fn of_profile(self, name: impl Into<String>) -> Self {
        Self { profile: Some(name.into()), ..self }
    }

    /// The place in the pool of the candidate that the request's session belongs to.
    pub(crate) fn home(&self, cx: &Context<'_>, candidates: &Candidates<'_>) -> Option<usize> {
        let session = Source::first(&self.sources, cx.request, cx.attributes)?;
        let found = match &self.strategy {
            Strategy::EncodedEndpoint(_) => {
                candidates.iter().find(|candidate| token::names(session, candidate.endpoint.name()))
            }
            Strategy::Remembered(bindings) => {
                let bound = bindings.get(tenancy::digest(cx.request, session), cx.now)?;
                candidates.iter().find(|candidate| *candidate.endpoint.name() == *bound)
            }
            Strategy::Hash => {
                let session = tenancy::digest(cx.request, session);
                candidates.iter().max_by_key(|candidate| rendezvous(session, candidate.endpoint))
            }
        };
        found.map(|candidate| candidate.place)
    }

    /// What must be told later for a request of a session.
    pub(crate) fn follow(this: &Arc<Self>, request: &Request, attributes: &Attributes) -> Option<Box<dyn Hooks>> {
        match this.strategy {
            Strategy::EncodedEndpoint(_) => Some(Box::new(Token { affinity: Arc::clone(this), picked: None })),
            Strategy::Remembered(_) => {
                let session = tenancy::digest(request, Source::first(&this.sources, request, attributes)?);
                Some(Box::new(Remember { affinity: Arc::clone(this), session }))
            }
            Strategy::Hash => None,
        }
    }

    /// What it reads to know the session.
    pub(crate) fn reads(&self) -> Vec<Data> {
        self.sources.iter().filter_map(Source::reads).collect()
    }

    /// How many sessions were forgotten because too many were remembered.
    pub(crate) fn dropped(&self) -> u64 {
        match &self.strategy {
            Strategy::EncodedEndpoint(_) | Strategy::Hash => 0,
            Strategy::Remembered(bindings) => bindings.dropped(),
        }
    }

    /// Whether a session belongs to where this goes.
    fn concerns(&self, picked: &Picked<'_>) -> bool {
        match &self.profile {
            Some(profile) => picked.profile == profile,
            None => picked.stage == Stage::Decode,
        }
    }
}

/// The strategy and the sources.
impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = match self.strategy {
            Strategy::EncodedEndpoint(_) => "encoded_endpoint_header",
            Strategy::Remembered(_) => "session_id",
            Strategy::Hash => "session_hash",
        };
        let sources: Vec<_> = self.sources.iter().map(Source::to_string).collect();
        write!(f, "{strategy} by {}", sources.join(", else "))?;
        match &self.profile {
            Some(profile) => write!(f, ", of profile {profile}"),
            None => Ok(()),
        }
    }
}

/// The higher, the more the session belongs there.
fn rendezvous(session: u128, endpoint: &Endpoint) -> u64 {
    let mut both = [0; 24];
    both[..16].copy_from_slice(&session.to_le_bytes());
    both[16..].copy_from_slice(&xxh3_64(endpoint.name().as_bytes()).to_le_bytes());
    xxh3_64(&both)
}

/// Gives the client the name of its endpoint.
#[derive(Debug)]
struct Token {
    affinity: Arc<Affinity>,
    /// The token of what the profile chose, where it is not the endpoint that answers.
    picked: Option<String>,
}

impl Hooks for Token {
    fn picked(&mut self, picked: &Picked<'_>) {
        if self.affinity.profile.is_some() && self.affinity.concerns(picked) {
            self.picked = Some(token::encode(picked.endpoint.name()));
        }
    }

    fn response_headers(&self, endpoint: &Endpoint, headers: &mut Headers) {
        let Strategy::EncodedEndpoint(header) = &self.affinity.strategy else { return };
        let token = match &self.affinity.profile {
            Some(_) => self.picked.clone(),
            None => Some(token::encode(endpoint.name())),
        };
        token.into_iter().for_each(|token| headers.insert(header.clone(), token));
    }
}

/// Binds the session to where its request goes.
#[derive(Debug)]
struct Remember {
    affinity: Arc<Affinity>,
    session: u128,
}

impl Hooks for Remember {
    fn picked(&mut self, picked: &Picked<'_>) {
        let Strategy::Remembered(bindings) = &self.affinity.strategy else { return };
        if self.affinity.concerns(picked) {
            let there = |name: &str| picked.pool.iter().any(|endpoint| endpoint.name() == name);
            bindings.bind(self.session, picked.endpoint.name(), picked.now, there);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Snapshot;
    use crate::testing::{Chance, pool, request};

    const NOW: Duration = Duration::from_secs(1);

    fn with(headers: &[(&'static str, &str)]) -> Request {
        request([]).with_headers(headers.iter().copied().collect())
    }

    fn home(affinity: &Affinity, request: &Request, attributes: &Attributes, now: Duration) -> Option<usize> {
        let (pool, mut chance) = (pool(4), Chance::new(1));
        let snapshot = Snapshot::of(&pool);
        affinity.home(&Context::new(request, attributes, now, &mut chance), &Candidates::new(&pool, &snapshot))
    }

    fn goes_to(affinity: &Arc<Affinity>, request: &Request, attributes: &Attributes, place: usize) {
        let pool = pool(4);
        let mut hooks = Affinity::follow(affinity, request, attributes).expect("the request has a session");
        hooks.picked(&Picked::new(&pool[place], &pool, NOW).by("decode"));
    }

    #[test]
    fn the_first_source_that_says_something_names_the_session() {
        let sources = vec![Source::header("X-First"), Source::Attribute("agent".to_owned()), Source::header("x-last")];
        let affinity = Arc::new(Affinity::remembered("x-session-id").with_sources(sources));
        let mut said = Attributes::default();
        said.set_text("agent", "s");
        goes_to(&affinity, &with(&[("x-first", " ")]), &said, 2);

        let nothing = Attributes::default();
        assert_eq!(home(&affinity, &with(&[("x-last", "s")]), &nothing, NOW), Some(2));
        assert_eq!(home(&affinity, &with(&[("x-first", "s"), ("x-last", "t")]), &nothing, NOW), Some(2));
        assert_eq!(home(&affinity, &with(&[("x-first", "t")]), &said, NOW), None);
        assert_eq!(home(&affinity, &with(&[("x-session-id", "s")]), &nothing, NOW), None);
        assert_eq!(affinity.reads(), [Data::RequestAttribute("agent".to_owned())]);
    }

    #[test]
    fn sessions_of_two_tenants_are_two_whatever_they_are_called() {
        let affinity = Arc::new(Affinity::remembered("x-session-id"));
        let nothing = Attributes::default();
        let of = |tenant: &str| with(&[("x-session-id", "s")]).of_tenant(tenant);
        goes_to(&affinity, &of("a"), &nothing, 1);
        goes_to(&affinity, &of("b"), &nothing, 3);

        assert_eq!(home(&affinity, &of("a"), &nothing, NOW), Some(1));
        assert_eq!(home(&affinity, &of("b"), &nothing, NOW), Some(3));
        assert_eq!(home(&affinity, &with(&[("x-session-id", "s")]), &nothing, NOW), None);
    }

    #[test]
    fn a_session_is_forgotten_when_its_time_is_over() {
        let affinity = Arc::new(Affinity::remembered("x-session-id").with_ttl(Duration::from_secs(10)));
        let (nothing, request) = (Attributes::default(), with(&[("x-session-id", "s")]));
        goes_to(&affinity, &request, &nothing, 1);
        let after = |seconds| home(&affinity, &request, &nothing, NOW + Duration::from_secs(seconds));
        assert_eq!((after(9), after(10)), (Some(1), None));
    }

    #[test]
    fn a_session_of_a_profile_belongs_to_what_that_profile_chose() {
        let (pool, nothing, request) = (pool(4), Attributes::default(), with(&[("x-session-id", "s")]));
        let told = |affinity: Affinity| {
            let affinity = Arc::new(affinity);
            let mut hooks = Affinity::follow(&affinity, &request, &nothing).expect("the request has a session");
            hooks.picked(&Picked::new(&pool[0], &pool, NOW).by("decode"));
            hooks.picked(&Picked::new(&pool[3], &pool, NOW).of(Stage::Prefill).by("prefill"));
            let mut headers = Headers::default();
            hooks.response_headers(&pool[0], &mut headers);
            (home(&affinity, &request, &nothing, NOW), headers.get("x-session-token").map(str::to_owned))
        };
        let (bound, token) =
            (|| Affinity::remembered("x-session-id"), || Affinity::encoded_endpoint("x-session-token"));

        assert_eq!(told(bound()).0, Some(0));
        assert_eq!(told(bound().of_profile("prefill")).0, Some(3));
        assert_eq!(told(bound().of_profile("encode")).0, None);
        // "engine-0" and "engine-3"; a profile that did not run gives no token.
        assert_eq!(told(token()).1.as_deref(), Some("ZW5naW5lLTA="));
        assert_eq!(told(token().of_profile("prefill")).1.as_deref(), Some("ZW5naW5lLTM="));
        assert_eq!(told(token().of_profile("encode")).1, None);
    }
}
