//! The limits of a sequencer.

use std::time::Duration;

/// The limits of a [`Sequencer`](super::Sequencer). Every default is in the field's description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SequencerSettings {
    /// Whether the engine can be asked for replay. Default: true.
    pub replay: bool,
    /// How many batches may wait while those before them are asked for. Default: 4096.
    pub max_waiting: usize,
    /// How many replays in a row may bring nothing before the state is called approximate. Default: 3.
    pub max_attempts: u32,
    /// How long to wait after the first replay that brought nothing; doubled for each further one. Default: 100 ms.
    pub backoff: Duration,
    /// The longest wait between two replays, and the pace at which they go on for ever. Default: 5 s.
    pub max_backoff: Duration,
    /// How long a stream may be quiet before it is probed for a lost tail. Default: 2 s.
    pub probe_after: Duration,
    /// How long a stream may be disconnected before its state is called recovering. Default: 1 s.
    pub disconnect_grace: Duration,
}

impl Default for SequencerSettings {
    fn default() -> Self {
        Self {
            replay: true,
            max_waiting: 4096,
            max_attempts: 3,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            probe_after: Duration::from_secs(2),
            disconnect_grace: Duration::from_secs(1),
        }
    }
}

impl SequencerSettings {
    /// How long to wait after this many replays in a row that brought nothing.
    pub(super) fn backoff(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        self.backoff.saturating_mul(1 << doublings).min(self.max_backoff)
    }
}
