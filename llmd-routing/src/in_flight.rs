//! What was sent to an endpoint and has not ended: counters, and guards that count out.

use std::sync::Arc;
use std::time::Duration;

use crate::duration::micros;
use crate::pace::Pace;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// What was sent to an endpoint and has not ended, counted by the sender: as fresh as can be, and blind to what others
/// send.
#[derive(Debug, Default)]
pub struct InFlight {
    requests: AtomicU64,
    tokens: AtomicU64,
    context: AtomicU64,
    computed: AtomicU64,
    pace: Pace,
}

/// What is in flight to an endpoint at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// Requests.
    pub requests: u64,
    /// Tokens of prompts that were not in the endpoint's cache, as far as the sender knew.
    pub tokens: u64,
    /// Tokens of prompts, cached or not, and of the answers that they are expected to have: what an engine reads to decode
    /// them, and has to keep meanwhile.
    pub context: u64,
}

impl InFlight {
    /// Requests.
    pub fn requests(&self) -> u64 {
        // Relaxed: a count that guards nothing; whoever must see its own writes holds the scheduler's lock.
        self.requests.load(Ordering::Relaxed)
    }

    /// Tokens of prompts that were not in the endpoint's cache, as far as the sender knew.
    pub fn tokens(&self) -> u64 {
        // Relaxed: as above.
        self.tokens.load(Ordering::Relaxed)
    }

    /// Tokens that engines read to decode the requests in flight.
    pub fn context(&self) -> u64 {
        // Relaxed: as above.
        self.context.load(Ordering::Relaxed)
    }

    /// Tokens of prompts that have been computed there since counting began. It wraps around.
    pub fn computed(&self) -> u64 {
        // Relaxed: as above.
        self.computed.load(Ordering::Relaxed)
    }

    /// How fast the endpoint's answers come.
    pub(crate) const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// All of it.
    pub fn load(&self) -> Load {
        Load { requests: self.requests(), tokens: self.tokens(), context: self.context() }
    }

    /// Counts a request in, with so many tokens to compute; it is counted out when the guard drops.
    #[must_use = "the request is counted out when the guard drops"]
    pub fn admit(self: &Arc<Self>, tokens: u64) -> InFlightGuard {
        self.admit_with_context(tokens, tokens)
    }

    /// The same, with so many tokens to read when it is decoded.
    #[must_use = "the request is counted out when the guard drops"]
    pub fn admit_with_context(self: &Arc<Self>, tokens: u64, context: u64) -> InFlightGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        self.context.fetch_add(context, Ordering::Relaxed);
        InFlightGuard(Arc::new(Place {
            in_flight: Arc::clone(self),
            held: AtomicBool::new(true),
            tokens: AtomicU64::new(tokens),
            context,
            deadline: AtomicU64::new(u64::MAX),
        }))
    }
}

/// A request that is counted until this drops.
#[derive(Debug)]
pub struct InFlightGuard(Arc<Place>);

impl InFlightGuard {
    /// Counts the tokens out, and leaves the request: its prompt has been computed.
    pub fn release_tokens(&self) {
        self.0.release_tokens();
    }

    /// So many tokens of its prompt have been computed there.
    pub(crate) fn computed(&self, tokens: u64) {
        self.0.in_flight.computed.fetch_add(tokens, Ordering::Relaxed);
    }

    /// The place that it holds, for whoever ends it when nobody else does.
    pub(crate) const fn place(&self) -> &Arc<Place> {
        &self.0
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// One request's share of the counts. It is given back once, whoever comes first: the guard, or the deadline.
#[derive(Debug)]
pub(crate) struct Place {
    in_flight: Arc<InFlight>,
    held: AtomicBool,
    tokens: AtomicU64,
    context: u64,
    /// In microseconds.
    deadline: AtomicU64,
}

impl Place {
    /// Gives the place back, and says whether it was still held.
    pub(crate) fn release(&self) -> bool {
        self.release_tokens();
        // Relaxed, here and below: one swap of a cell decides who gives back; nothing else is published with it.
        let held = self.held.swap(false, Ordering::Relaxed);
        if held {
            self.in_flight.requests.fetch_sub(1, Ordering::Relaxed);
            self.in_flight.context.fetch_sub(self.context, Ordering::Relaxed);
        }
        held
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// When it is given back at the latest.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_micros(self.deadline.load(Ordering::Relaxed))
    }

    pub(crate) fn set_deadline(&self, deadline: Duration) {
        self.deadline.store(micros(deadline), Ordering::Relaxed);
    }

    fn release_tokens(&self) {
        let tokens = self.tokens.swap(0, Ordering::Relaxed);
        if tokens > 0 {
            self.in_flight.tokens.fetch_sub(tokens, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_once() {
        let in_flight: Arc<InFlight> = Arc::default();
        let guard = in_flight.admit(100);
        assert_eq!(in_flight.load(), Load { requests: 1, tokens: 100, context: 100 });
        guard.release_tokens();
        assert_eq!(in_flight.load(), Load { requests: 1, tokens: 0, context: 100 });

        assert!(guard.place().release());
        assert!(!guard.place().release());
        drop(guard);
        assert_eq!(in_flight.load(), Load::default());
    }
}

/// `cargo xtask loom`.
#[cfg(all(test, loom))]
mod models {
    use super::*;

    /// A place that its guard, its deadline and its first token give back, in every order.
    #[test]
    fn a_place_is_given_back_once_whoever_comes_first() {
        loom::model(|| {
            let in_flight = Arc::new(InFlight::default());
            let stays = in_flight.admit(5);
            let guard = in_flight.admit(7);
            let place = Arc::clone(guard.place());
            let lapses = loom::thread::spawn(move || place.release());
            let reading = Arc::clone(&in_flight);
            let reads = loom::thread::spawn(move || reading.load());
            guard.release_tokens();
            drop(guard);
            lapses.join().expect("it ends");
            let seen = reads.join().expect("it ends");
            assert!((1..=2).contains(&seen.requests) && [5, 12].contains(&seen.tokens), "{seen:?}");
            assert_eq!(in_flight.load(), Load { requests: 1, tokens: 5, context: 5 });
            drop(stays);
            assert_eq!(in_flight.load(), Load::default());
        });
    }
}
