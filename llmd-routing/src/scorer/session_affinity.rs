//! `session-affinity-scorer`: a session goes where it went before.

use std::sync::Arc;

use crate::Request;
use crate::plugin::{Candidates, Context, Hooks, Plugin, Scorer};
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
    fn follow(&self, request: &Request) -> Option<Box<dyn Hooks>> {
        Affinity::follow(&self.0, request)
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
        let Some(home) = self.0.home(cx.request, cx.now, candidates) else { return };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = if candidate.place == home { 1.0 } else { 0.0 };
        }
    }
}
