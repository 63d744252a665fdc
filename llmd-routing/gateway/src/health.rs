//! When an endpoint that fails is left alone, and for how long: a state machine that is told what happened.

use std::time::Duration;

use crate::settings::Ejection;

/// What is known about one endpoint's failures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    failures_in_a_row: u32,
    ejections_in_a_row: u32,
    ejected: bool,
}

impl Health {
    /// A request failed there. `Some` when the endpoint is to be left alone from now on, and for how long before it is
    /// probed.
    pub(crate) fn failed(&mut self, settings: &Ejection) -> Option<Duration> {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.ejected || self.failures_in_a_row < settings.consecutive_failures.max(1) {
            return None;
        }
        self.ejected = true;
        let doubled = 2_u32.saturating_pow(self.ejections_in_a_row);
        self.ejections_in_a_row = self.ejections_in_a_row.saturating_add(1);
        Some(settings.base.saturating_mul(doubled).min(settings.max))
    }

    /// A request was answered there. An endpoint that is left alone stays so until its probe is answered.
    pub(crate) fn answered(&mut self) {
        self.failures_in_a_row = 0;
        if !self.ejected {
            self.ejections_in_a_row = 0;
        }
    }

    /// Its probe was answered: it gets requests again.
    pub(crate) fn restored(&mut self) {
        self.ejected = false;
        self.failures_in_a_row = 0;
    }

    /// Whether it is left alone.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ejection() -> Ejection {
        Ejection { consecutive_failures: 2, base: SECOND, max: SECOND * 3, ..Ejection::default() }
    }

    #[test]
    fn failures_in_a_row_eject() {
        let mut health = Health::default();

        assert_eq!(health.failed(&ejection()), None);
        assert_eq!(health.failed(&ejection()), Some(SECOND));
        assert!(health.is_ejected());
        assert_eq!(health.failed(&ejection()), None, "once");
    }

    #[test]
    fn an_answer_between_failures_forgives() {
        let mut health = Health::default();
        for _ in 0..5 {
            assert_eq!(health.failed(&ejection()), None);
            health.answered();
        }
        assert!(!health.is_ejected());
    }

    #[test]
    fn failing_again_after_it_was_taken_back_doubles_the_time_up_to_the_longest() {
        let mut health = Health::default();
        let mut times = Vec::new();
        for _ in 0..4 {
            health.failed(&ejection());
            times.extend(health.failed(&ejection()));
            health.restored();
        }
        assert_eq!(times, [SECOND, SECOND * 2, SECOND * 3, SECOND * 3]);
    }

    #[test]
    fn an_answer_after_it_was_taken_back_makes_it_as_good_as_new() {
        let mut health = Health::default();
        health.failed(&ejection());
        health.failed(&ejection());
        health.answered();
        assert!(health.is_ejected(), "an answer that was under way proves nothing");
        health.restored();
        health.answered();
        health.failed(&ejection());
        assert_eq!(health.failed(&ejection()), Some(SECOND));
    }

    #[test]
    fn one_failure_is_enough_when_none_are_allowed() {
        let never = Ejection { consecutive_failures: 0, ..ejection() };
        assert_eq!(Health::default().failed(&never), Some(SECOND));
    }
}
