//! Peers that could not be reached, and are not tried again at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

/// Peers that could not be reached: each is left alone for longer and longer, until it was reached again.
#[derive(Debug)]
pub(super) struct LeftAlone<K> {
    failed: HashMap<K, Failed>,
    most: usize,
    /// Those that were forgotten before their time was over.
    forgotten: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Failed {
    until: Duration,
    pause: Duration,
    why: String,
}

/// How long one that failed is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl<K: Copy + Eq + Hash> LeftAlone<K> {
    /// None yet, and never more than so many: one more makes those forgotten whose time is over, or the one whose time is over first,
    /// which is counted.
    pub(super) fn new(most: usize, forgotten: &Arc<AtomicU64>) -> Self {
        Self { failed: HashMap::new(), most, forgotten: Arc::clone(forgotten) }
    }

    /// Whether this one may be tried.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] with why it failed, while it is left alone.
    pub(super) fn check(&self, now: Duration, peer: &K) -> Result<()> {
        match self.failed.get(peer).filter(|failed| now < failed.until) {
            Some(failed) => Err(Error::new(ErrorKind::Unavailable, failed.why.clone())),
            None => Ok(()),
        }
    }

    /// That one could not be reached.
    pub(super) fn remember(&mut self, now: Duration, peer: K, error: &Error) {
        if self.failed.len() >= self.most && !self.failed.contains_key(&peer) {
            self.make_room(now);
        }
        let failed = self.failed.entry(peer);
        let failed = failed.or_insert_with(|| Failed { until: now, pause: FIRST_PAUSE / 2, why: String::new() });
        failed.pause = (failed.pause * 2).min(LONGEST_PAUSE);
        failed.until = now + failed.pause;
        failed.why = error.to_string();
    }

    fn make_room(&mut self, now: Duration) {
        self.failed.retain(|_, failed| now < failed.until);
        if self.failed.len() < self.most {
            return;
        }
        let first = self.failed.iter().min_by_key(|(_, failed)| failed.until).map(|(&peer, _)| peer);
        if first.is_some_and(|first| self.failed.remove(&first).is_some()) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It was reached.
    pub(super) fn forget(&mut self, peer: &K) {
        self.failed.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_is_left_alone_for_longer_and_longer_until_it_was_reached() {
        let mut peers = LeftAlone::new(8, &Arc::default());
        let error = Error::new(ErrorKind::Unavailable, "no route");
        let mut now = Duration::ZERO;
        for milliseconds in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            peers.remember(now, 7, &error);
            let pause = Duration::from_millis(milliseconds);
            let said = peers.check(now + pause - Duration::from_millis(1), &7).unwrap_err();
            assert_eq!((said.kind(), said.to_string().as_str()), (ErrorKind::Unavailable, "no route"));
            assert!(peers.check(now, &8).is_ok());
            now += pause;
            assert!(peers.check(now, &7).is_ok());
        }
        peers.forget(&7);
        peers.remember(now, 7, &error);
        assert!(peers.check(now + FIRST_PAUSE, &7).is_ok());
    }
    #[test]
    fn one_more_than_there_may_be_takes_the_place_of_the_one_that_is_left_alone_no_longer_first() {
        let (forgotten, error) = (Arc::default(), Error::new(ErrorKind::Unavailable, "no route"));
        let mut peers = LeftAlone::new(3, &forgotten);
        let count = || forgotten.load(Ordering::Relaxed);
        let now = Duration::from_millis(150);
        for (peer, at) in [(0, 0), (1, 100), (2, 120), (3, 150)] {
            peers.remember(Duration::from_millis(at), peer, &error);
        }
        assert_eq!((peers.failed.len(), count()), (3, 0), "the time of the first was over");
        for _ in 0..2 {
            peers.remember(now, 2, &error);
        }
        assert_eq!((peers.failed.len(), count()), (3, 0), "one that is there needs no room");
        peers.remember(now, 4, &error);
        assert_eq!((peers.failed.len(), count()), (3, 1));
        let is_left_alone = |peer| peers.check(now, &peer).is_err();
        assert_eq!([1, 2, 3, 4].map(is_left_alone), [false, true, true, true]);
        for peer in 0..1000 {
            peers.remember(now, peer, &error);
        }
        assert_eq!(peers.failed.len(), 3);
    }
}
