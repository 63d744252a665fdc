//! Sessions and the endpoints that they are bound to, for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How long a session stays bound after its last request, as in llm-d.
const TTL: Duration = Duration::from_secs(300);

/// How many sessions are remembered; beyond that, the one that was silent for longest is forgotten.
const MAX_SESSIONS: usize = 65_536;

/// Which endpoint each session is bound to.
#[derive(Debug)]
pub(super) struct Bindings {
    table: Mutex<Table>,
    ttl: Duration,
    max_sessions: usize,
}

impl Default for Bindings {
    fn default() -> Self {
        Self::new(TTL)
    }
}

/// Sessions are known by the digest of their id and of whose they are.
#[derive(Debug, Default)]
struct Table {
    bound: HashMap<u128, Binding>,
    /// When each binding ends, and a number that makes it unique.
    deadlines: BTreeMap<(Duration, u64), u128>,
    next: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Binding {
    endpoint: Arc<str>,
    deadline: (Duration, u64),
}

impl Bindings {
    /// No session yet; each will be bound for so long after its last request.
    pub(super) fn new(ttl: Duration) -> Self {
        Self { table: Mutex::default(), ttl, max_sessions: MAX_SESSIONS }
    }

    /// The name of the endpoint that a session is bound to.
    pub(super) fn get(&self, session: u128, now: Duration) -> Option<Arc<str>> {
        let table = self.table.lock();
        let binding = table.bound.get(&session).filter(|binding| binding.deadline.0 > now)?;
        Some(Arc::clone(&binding.endpoint))
    }

    /// A request of `session` went to `endpoint`. The session is bound to it, unless it is bound to one that is still
    /// `there`; either way it stays bound for a while from now on.
    pub(super) fn bind(&self, session: u128, endpoint: &str, now: Duration, there: impl Fn(&str) -> bool) {
        let table = &mut *self.table.lock();
        table.expire(now);
        let before = table.bound.remove(&session);
        if let Some(before) = &before {
            table.deadlines.remove(&before.deadline);
        } else if table.bound.len() == self.max_sessions {
            table.forget_oldest();
        }
        let kept = before.map(|before| before.endpoint).filter(|bound| there(bound));
        let deadline = (now.saturating_add(self.ttl), table.next);
        table.next += 1;
        table.deadlines.insert(deadline, session);
        table.bound.insert(session, Binding { endpoint: kept.unwrap_or_else(|| endpoint.into()), deadline });
    }

    /// How many sessions were forgotten before their time.
    pub(super) fn dropped(&self) -> u64 {
        self.table.lock().dropped
    }
}

impl Table {
    fn expire(&mut self, now: Duration) {
        while let Some(oldest) = self.deadlines.first_entry().filter(|oldest| oldest.key().0 <= now) {
            self.bound.remove(&oldest.remove());
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, session)) = self.deadlines.pop_first() {
            self.bound.remove(&session);
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u128 = 1;
    const SILENT: u128 = 2;
    const LIVELY: u128 = 3;
    const FIRST: u128 = 4;
    const SECOND: u128 = 5;
    const THIRD: u128 = 6;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn bound(bindings: &Bindings, session: u128, now: Duration) -> Option<String> {
        bindings.get(session, now).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn a_session_stays_where_it_began_while_that_is_there() {
        let bindings = Bindings::default();
        bindings.bind(S, "a", at(0), |_| true);
        bindings.bind(S, "b", at(1), |name| name == "a");
        assert_eq!(bound(&bindings, S, at(2)).as_deref(), Some("a"));

        bindings.bind(S, "b", at(3), |name| name != "a");
        assert_eq!(bound(&bindings, S, at(4)).as_deref(), Some("b"));
    }

    #[test]
    fn a_silent_session_is_forgotten_and_a_lively_one_is_not() {
        let bindings = Bindings::default();
        bindings.bind(SILENT, "a", at(0), |_| true);
        bindings.bind(LIVELY, "a", at(0), |_| true);
        bindings.bind(LIVELY, "a", at(200), |_| true);

        assert_eq!(bound(&bindings, SILENT, at(300)), None);
        assert_eq!(bound(&bindings, LIVELY, at(300)).as_deref(), Some("a"));
        assert_eq!(bindings.dropped(), 0);
    }

    #[test]
    fn beyond_the_limit_the_one_silent_for_longest_goes_and_is_counted() {
        let bindings = Bindings { max_sessions: 2, ..Bindings::default() };
        bindings.bind(FIRST, "a", at(0), |_| true);
        bindings.bind(SECOND, "a", at(1), |_| true);
        bindings.bind(FIRST, "a", at(2), |_| true);
        bindings.bind(THIRD, "a", at(3), |_| true);

        assert_eq!(bound(&bindings, SECOND, at(4)), None);
        assert!(bound(&bindings, FIRST, at(4)).is_some() && bound(&bindings, THIRD, at(4)).is_some());
        assert_eq!(bindings.dropped(), 1);
    }
}
