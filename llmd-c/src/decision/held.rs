//! A decision, with what was said of it in C's words.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use llmd_routing::{Decision, Endpoint, Pool};

use crate::string::terminated;

/// A decision, with what was said of it. What was said stays where it is until the end, since the caller may hold on to it;
/// a decision moves on at most as often as it has endpoints.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) decision: Decision,
    pool: Pool,
    said: Vec<Said>,
    headers: Option<Vec<(CString, CString)>>,
    /// Headers of endpoints that failed.
    old: Vec<Vec<(CString, CString)>>,
}

/// What was said of one endpoint.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) name: CString,
    pub(super) address: CString,
}

impl Said {
    fn new(endpoint: &Endpoint) -> Self {
        Self { name: terminated(endpoint.name()), address: terminated(endpoint.address()) }
    }
}

impl Held {
    pub(super) fn new(decision: Decision, pool: Pool) -> Self {
        let said = vec![Said::new(decision.endpoint())];
        Self { decision, pool, said, headers: None, old: Vec::new() }
    }

    /// What is said of the endpoint that the request goes to.
    pub(super) fn said(&self) -> &Said {
        self.said.last().expect("the first endpoint is there from the start")
    }

    /// Its place in the pool.
    pub(super) fn place(&self) -> usize {
        let endpoint = self.decision.endpoint();
        self.pool.iter().position(|other| Arc::ptr_eq(other, endpoint)).expect("it was chosen from the pool")
    }

    /// Its headers.
    pub(super) fn headers(&mut self) -> &[(CString, CString)] {
        self.headers.get_or_insert_with(|| {
            let headers = self.decision.headers();
            headers.iter().map(|(name, value)| (terminated(name), terminated(value))).collect()
        })
    }

    /// Goes on to the next endpoint, if there is one.
    pub(super) fn advance(&mut self, now: Duration) -> bool {
        let Some(next) = self.decision.advance(now) else {
            return false;
        };
        self.said.push(Said::new(next));
        self.old.extend(self.headers.take());
        true
    }
}
