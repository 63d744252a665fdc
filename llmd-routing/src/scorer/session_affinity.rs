//! `session-affinity-scorer`: a session goes where it went before.

use std::sync::Arc;

use crate::Request;
use crate::plugin::{Attributes, Candidates, Context, Data, Hooks, Plugin, Scorer};
use crate::session::Affinity;

/// 1 for the endpoint that the request's session belongs to, 0 for the others; 0 for all when it belongs to none of them.
///
/// Semantics: llm-d's `session-affinity-scorer`, which is experimental there, and [`Affinity`]'s own strategy.
#[derive(Clone, Debug)]
pub struct SessionAffinityScorer(Arc<Affinity>);

impl SessionAffinityScorer {
    /// A scorer by this affinity.
    pub fn new(affinity: Affinity) -> Self {
        Self(Arc::new(affinity))
    }
}

impl Plugin for SessionAffinityScorer {
    fn reads(&self) -> Vec<Data> {
        self.0.reads()
    }

    fn follow(&self, request: &Request, attributes: &Attributes) -> Option<Box<dyn Hooks>> {
        Affinity::follow(&self.0, request, attributes)
    }

    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    fn settings(&self) -> String {
        self.0.to_string()
    }
}

impl Scorer for SessionAffinityScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let Some(home) = self.0.home(cx, candidates) else { return };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = if candidate.place == home { 1.0 } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pool, request, scores};
    use crate::{Headers, Pool};

    fn said(affinity: Affinity, header: &'static str, value: &str, pool: &Pool) -> Vec<f64> {
        let request = request([]).with_headers(Headers::from_iter([(header, value)]));
        scores(&SessionAffinityScorer::new(affinity), &request, pool, &Attributes::default())
    }

    #[test]
    fn a_token_sends_a_session_where_it_names() {
        let token = || Affinity::encoded_endpoint("x-session-token");
        // "engine-2"
        assert_eq!(said(token(), "x-session-token", "ZW5naW5lLTI=", &pool(4)), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(said(token(), "x-session-token", "ZW5naW5lLTk=", &pool(2)), [0.0, 0.0]);
        assert_eq!(said(token(), "x-other", "ZW5naW5lLTA=", &pool(2)), [0.0, 0.0]);
    }

    #[test]
    fn a_hash_sends_a_session_to_one_endpoint_and_moves_only_those_whose_endpoint_goes() {
        let (all, fewer) = (pool(8), pool(7));
        let mut homes = [0; 8];
        for session in 0..800 {
            let session = format!("session-{session}");
            let home = |pool: &Pool| said(Affinity::hash("x-session-id"), "x-session-id", &session, pool);
            let before = home(&all).iter().position(|&score| score == 1.0).expect("every session has a home");
            homes[before] += 1;
            let after = home(&fewer).iter().position(|&score| score == 1.0).expect("every session has a home");
            assert!(after == before || before == 7, "{session} moved from {before} to {after}");
        }
        assert!(homes.iter().all(|home| (60..=140).contains(home)), "sessions spread: {homes:?}");
    }
}
