//! Places that are given back when nobody does it in time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use crate::in_flight::Place;

/// So many places are kept before it is looked whether any were given back.
const FEW: usize = 1024;

/// Places by when they are given back at the latest, so that a caller who forgets a decision cannot pin an endpoint.
///
/// A place that was given back stays here until its time has come, or until most of those here were: there are at most
/// twice as many as are held, and some.
#[derive(Debug)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Entry>,
    /// How many may be here before it is looked which of them are held.
    limit: usize,
    lapsed: u64,
}

#[derive(Debug)]
struct Entry {
    due: Reverse<Duration>,
    place: Arc<Place>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), limit: FEW, lapsed: 0 }
    }
}

impl Deadlines {
    /// Gives a place back at its deadline.
    pub(super) fn add(&mut self, place: &Arc<Place>) {
        if self.heap.len() >= self.limit {
            self.heap.retain(|entry| entry.place.is_held());
            self.limit = FEW.max(2 * self.heap.len());
        }
        self.heap.push(Entry { due: Reverse(place.deadline()), place: Arc::clone(place) });
    }

    /// Gives back every place whose deadline has come.
    pub(super) fn lapse(&mut self, now: Duration) {
        while self.heap.peek().is_some_and(|first| first.due.0 <= now) {
            let Some(entry) = self.heap.pop() else { return };
            let deadline = entry.place.deadline();
            if deadline > now && entry.place.is_held() {
                // It was put off meanwhile.
                self.heap.push(Entry { due: Reverse(deadline), ..entry });
            } else if entry.place.release() {
                self.lapsed += 1;
            }
        }
    }

    /// How many were given back so.
    pub(super) const fn lapsed(&self) -> u64 {
        self.lapsed
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InFlight, InFlightGuard};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn admit(in_flight: &Arc<InFlight>, deadlines: &mut Deadlines, deadline: u64) -> InFlightGuard {
        let guard = in_flight.admit(1);
        guard.place().set_deadline(at(deadline));
        deadlines.add(guard.place());
        guard
    }

    #[test]
    fn a_place_that_nobody_gives_back_is_given_back_at_its_deadline() {
        let (in_flight, mut deadlines) = (Arc::default(), Deadlines::default());
        let _forgotten = std::mem::ManuallyDrop::new(admit(&in_flight, &mut deadlines, 20));
        let put_off = admit(&in_flight, &mut deadlines, 10);
        drop(admit(&in_flight, &mut deadlines, 5));
        put_off.place().set_deadline(at(30));

        for (now, held, lapsed) in [(19, 2, 0), (20, 1, 1), (29, 1, 1), (30, 0, 2)] {
            deadlines.lapse(at(now));
            assert_eq!((in_flight.requests(), in_flight.tokens(), deadlines.lapsed()), (held, held, lapsed), "{now}");
        }
        drop(put_off);
        assert_eq!(in_flight.requests(), 0);
    }

    #[test]
    fn places_that_were_given_back_do_not_pile_up() {
        let (in_flight, mut deadlines) = (Arc::default(), Deadlines::default());
        let held: Vec<_> = (0..100).map(|_| admit(&in_flight, &mut deadlines, 1)).collect();
        (0..100_000).for_each(|_| drop(admit(&in_flight, &mut deadlines, 1)));
        assert!(deadlines.heap.len() <= FEW.max(2 * held.len()) + 1, "{}", deadlines.heap.len());
    }
}
