//! Peers that could not be reached, and are not tried again at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

/// Peers that could not be reached: each is left alone for longer and longer, until it was reached again.
#[derive(Debug)]
pub(super) struct LeftAlone<K> {
    failed: HashMap<K, Failed>,
    most: usize,
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

impl<K: Eq + Hash> LeftAlone<K> {
    /// None yet; from so many on, those are forgotten whose time is over.
    pub(super) fn new(most: usize) -> Self {
        Self { failed: HashMap::new(), most }
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
        if self.failed.len() >= self.most {
            self.failed.retain(|_, failed| now < failed.until);
        }
        let failed = self.failed.entry(peer);
        let failed = failed.or_insert_with(|| Failed { until: now, pause: FIRST_PAUSE / 2, why: String::new() });
        failed.pause = (failed.pause * 2).min(LONGEST_PAUSE);
        failed.until = now + failed.pause;
        failed.why = error.to_string();
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
        let mut peers = LeftAlone::new(8);
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
}
