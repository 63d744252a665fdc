//! `session-affinity-filter`: a session goes where it went before, and nowhere else while that is there.

use std::sync::Arc;

use crate::Request;
use crate::plugin::{Attributes, Candidates, Context, Data, Filter, Hooks, Plugin};
use crate::session::Affinity;

/// Keeps only the endpoint that the request's session belongs to; everybody when it belongs to none of them.
///
/// Semantics: llm-d's `session-affinity-filter`, which is experimental there, and [`Affinity`]'s own strategy.
#[derive(Clone, Debug)]
pub struct SessionAffinityFilter(Arc<Affinity>);

impl SessionAffinityFilter {
    /// A filter by this affinity.
    pub fn new(affinity: Affinity) -> Self {
        Self(Arc::new(affinity))
    }
}

impl Plugin for SessionAffinityFilter {
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

impl Filter for SessionAffinityFilter {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        if let Some(home) = self.0.home(cx, candidates) {
            candidates.retain(|candidate| candidate.place == home);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;
    use crate::testing::{kept, pool, request};

    #[test]
    fn a_session_keeps_only_its_endpoint_while_that_is_there() {
        let filter = SessionAffinityFilter::new(Affinity::encoded_endpoint("X-Session-Token"));
        let with = |token: &str| request([]).with_headers(Headers::from_iter([("x-session-token", token)]));

        // "engine-1", "engine-9" and no base64
        assert_eq!(kept(&filter, &with("ZW5naW5lLTE="), &pool(3), &Attributes::default()), ["engine-1"]);
        assert_eq!(kept(&filter, &with("ZW5naW5lLTk="), &pool(3), &Attributes::default()).len(), 3);
        assert_eq!(kept(&filter, &with("%"), &pool(3), &Attributes::default()).len(), 3);
        assert_eq!(kept(&filter, &request([]), &pool(3), &Attributes::default()).len(), 3);
    }
}
