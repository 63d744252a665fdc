//! The clock of a gateway: time since its start, which a test can turn by hand.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

/// Tells the time since it was started. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Running(Instant),
    Turned(watch::Receiver<Duration>),
}

/// Turns the clock that [`Clock::by_hand`] made with it.
#[derive(Debug)]
pub struct Hand(watch::Sender<Duration>);

impl Clock {
    /// A clock that begins at zero and runs.
    #[expect(clippy::disallowed_methods, reason = "the shell's time comes from here and nowhere else")]
    pub fn start() -> Self {
        Self(Source::Running(Instant::now()))
    }

    /// A clock that begins at zero and moves only when it is turned.
    pub fn by_hand() -> (Self, Hand) {
        let (hand, now) = watch::channel(Duration::ZERO);
        (Self(Source::Turned(now)), Hand(hand))
    }

    /// The time since the clock was started.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Source::Running(start) => start.elapsed(),
            Source::Turned(now) => *now.borrow(),
        }
    }

    /// The time since 1970, as engines write it; of a clock that is turned by hand, since its start.
    #[expect(clippy::disallowed_methods, reason = "the shell's time comes from here and nowhere else")]
    pub(crate) fn since_1970(&self) -> Duration {
        match &self.0 {
            Source::Running(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            Source::Turned(_) => self.now(),
        }
    }

    /// Waits until the clock says `deadline`; at once when it does already. A clock whose hand is gone never does.
    pub async fn sleep_until(&self, deadline: Duration) {
        match &self.0 {
            Source::Running(start) => tokio::time::sleep(deadline.saturating_sub(start.elapsed())).await,
            Source::Turned(now) => {
                if now.clone().wait_for(|now| *now >= deadline).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl Hand {
    /// Turns the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_running_clock_never_goes_back() {
        let clock = Clock::start();
        let before = clock.now();
        assert!(clock.now() >= before);
    }

    #[tokio::test]
    async fn a_clock_by_hand_moves_only_when_it_is_turned() {
        let (clock, hand) = Clock::by_hand();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(SECOND * 2).await;
                clock.now()
            }
        });
        hand.advance(SECOND);
        assert_eq!(clock.now(), SECOND);
        hand.advance(SECOND);
        assert_eq!(sleeper.await.unwrap(), SECOND * 2);
    }

    #[tokio::test]
    async fn what_is_over_is_not_waited_for() {
        let (clock, hand) = Clock::by_hand();
        hand.advance(SECOND);
        clock.sleep_until(SECOND).await;
    }
}
