//! A decision, with what was said of it in C's words.

use std::ffi::{CString, c_char};
use std::sync::Arc;
use std::time::Duration;

use llmd_routing::plugin::{HeaderChanges, Stage};
use llmd_routing::{Decision, Endpoint, NextStep, Pool, StageRoute};

use super::said::Said;
use super::stages::llmd_stage_route;
use crate::string::terminated;

/// A decision, with what was said of it. What was said stays where it is until the end, since the caller may hold on to it;
/// a decision moves on at most as often as it has endpoints for its stages.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) decision: Decision,
    pool: Pool,
    said: Said,
    now: Spoken,
    /// What was said of endpoints that failed.
    old: Vec<Spoken>,
}

/// Headers, as long as the request goes where it goes.
#[derive(Debug, Default)]
struct Spoken {
    response: Option<Vec<Header>>,
    request: Option<Changes>,
}

/// A name and a value.
pub(super) type Header = (CString, CString);

/// Changes to the headers of the request, in C's words.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) remove: Vec<CString>,
    pub(super) set: Vec<Header>,
    pub(super) destination: Option<CString>,
}

impl From<HeaderChanges> for Changes {
    fn from(changes: HeaderChanges) -> Self {
        Self {
            remove: changes.remove.into_iter().map(terminated).collect(),
            set: changes.set.iter().map(|(name, value)| (terminated(name), terminated(value))).collect(),
            destination: changes.destination.map(terminated),
        }
    }
}

impl Held {
    pub(super) fn new(decision: Decision, pool: Pool) -> Self {
        Self { decision, pool, said: Said::default(), now: Spoken::default(), old: Vec::new() }
    }

    /// The name of the endpoint that the request goes to.
    pub(super) fn name(&mut self) -> *const c_char {
        self.said.say(self.decision.endpoint().name())
    }

    /// Its address.
    pub(super) fn address(&mut self) -> *const c_char {
        self.said.say(self.decision.endpoint().address())
    }

    /// Its place in the pool.
    pub(super) fn place(&self) -> usize {
        self.place_of(self.decision.endpoint())
    }

    /// The place in the pool of one of its endpoints.
    pub(super) fn place_of(&self, endpoint: &Arc<Endpoint>) -> usize {
        place(&self.pool, endpoint)
    }

    /// Its stages, in C's words.
    pub(super) fn stages(&mut self) -> Vec<llmd_stage_route> {
        let Self { decision, pool, said, .. } = self;
        let route = |route: StageRoute<'_>| llmd_stage_route {
            stage: route.stage.into(),
            profile: said.say(route.profile),
            endpoint: said.say(route.endpoint.name()),
            address: said.say(route.endpoint.address()),
            place: place(pool, route.endpoint),
            rank: route.rank.map_or(-1, i64::from),
            deadline: route.deadline.map_or(-1.0, |deadline| deadline.as_secs_f64()),
        };
        decision.stages().into_iter().map(route).collect()
    }

    /// A text of the decision's, as long as the decision.
    pub(super) fn say(&mut self, text: &str) -> *const c_char {
        self.said.say(text)
    }

    /// What was said about the request under this name.
    pub(super) fn attribute(&mut self, name: &str) -> Option<*const c_char> {
        let Self { decision, said, .. } = self;
        decision.attribute(name).map(|text| said.say(text))
    }

    /// Headers to add to the response.
    pub(super) fn headers(&mut self) -> &[Header] {
        self.now.response.get_or_insert_with(|| {
            let headers = self.decision.headers();
            headers.iter().map(|(name, value)| (terminated(name), terminated(value))).collect()
        })
    }

    /// Changes to the headers of the request.
    pub(super) fn changes(&mut self) -> &Changes {
        self.now.request.get_or_insert_with(|| self.decision.request_headers().into())
    }

    /// Goes on to the next endpoint, if there is one.
    pub(super) fn advance(&mut self, now: Duration) -> bool {
        let goes_on = self.decision.advance(now).is_some();
        if goes_on {
            self.moved();
        }
        goes_on
    }

    /// Goes on from an endpoint that failed at a stage.
    pub(super) fn stage_failed(&mut self, stage: Stage, now: Duration) -> NextStep {
        let step = self.decision.stage_failed(stage, now);
        if !matches!(step, NextStep::Fail) {
            self.moved();
        }
        step
    }

    fn moved(&mut self) {
        let old = std::mem::take(&mut self.now);
        if old.response.is_some() || old.request.is_some() {
            self.old.push(old);
        }
    }
}

fn place(pool: &Pool, endpoint: &Arc<Endpoint>) -> usize {
    pool.iter().position(|other| Arc::ptr_eq(other, endpoint)).expect("it was chosen from the pool")
}
