//! How often NIXL is asked how far it is: it has nothing that wakes.

use std::time::Duration;

/// When to look next: soon after something moved, and less and less often while nothing does.
#[derive(Debug, Default)]
pub(super) struct Pace {
    moved: Duration,
    looked: Duration,
    until: Option<Duration>,
}

/// How long after one look the next comes, at least and at most.
const SHORTEST: Duration = Duration::from_micros(20);
const LONGEST: Duration = Duration::from_millis(1);
/// Which part of the time that nothing moved may pass until the next look.
const PART: u32 = 16;

impl Pace {
    /// Something moved.
    pub(super) fn moved(&mut self, now: Duration) {
        self.moved = now;
        self.looked = now.saturating_sub(SHORTEST);
    }

    /// Is looked at until then.
    pub(super) fn until(&mut self, until: Duration) {
        self.until = Some(until);
    }

    /// Is not looked at any more.
    pub(super) fn stop(&mut self) {
        self.until = None;
    }

    /// Whether it is to be looked at now; then it was.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
        }
        let is_due = self.next().is_some_and(|next| now >= next);
        if is_due {
            self.looked = now;
        }
        is_due
    }

    pub(super) fn next(&self) -> Option<Duration> {
        let until = self.until?;
        let still = self.looked.saturating_sub(self.moved);
        Some((self.looked + (still / PART).clamp(SHORTEST, LONGEST)).min(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_less_and_less_often_and_then_no_more() {
        let mut pace = Pace::default();
        assert_eq!(pace.next(), None);
        let start = Duration::from_secs(1);
        pace.moved(start);
        pace.until(start + Duration::from_millis(50));
        let mut looks = Vec::new();
        while let Some(next) = pace.next() {
            if pace.is_due(next) {
                looks.push(next);
            } else {
                assert_eq!(pace.next(), None, "it is over");
            }
        }
        assert_eq!(looks[..2], [start, start + SHORTEST]);
        assert!((60..200).contains(&looks.len()), "{} looks", looks.len());
        assert!(looks.windows(2).all(|two| two[1] - two[0] <= LONGEST));
        pace.moved(start);
        assert_eq!(pace.next(), None);
    }
}
