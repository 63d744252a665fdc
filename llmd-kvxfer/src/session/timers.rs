//! When each request wants to be looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::RequestId;

/// One time for each request, soonest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<RequestId, Duration>,
    order: BTreeSet<(Duration, RequestId)>,
}

impl Timers {
    /// From now on it is this time, or none.
    pub(super) fn set(&mut self, request: &RequestId, at: Option<Duration>) {
        let before = match at {
            Some(at) => self.at.insert(request.clone(), at),
            None => self.at.remove(request),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, request.clone()));
        }
        if let Some(at) = at {
            self.order.insert((at, request.clone()));
        }
    }

    /// Whoever's time has come, soonest first. They are not looked at again until they say when.
    pub(super) fn due(&mut self, now: Duration) -> Vec<RequestId> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now)
            && let Some((_, request)) = self.order.pop_first()
        {
            self.at.remove(&request);
            due.push(request);
        }
        due
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }
}
