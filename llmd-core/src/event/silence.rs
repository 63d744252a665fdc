//! Notices an engine that stores blocks while its stream says nothing of it.

use std::time::Duration;

/// The limits of a [`Silence`]. Every default is in the field's description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SilenceSettings {
    /// How many blocks must have been stored unheard. Default: 64.
    pub min_blocks: u64,
    /// How long their events may take. Default: 5 s.
    pub patience: Duration,
}

impl Default for SilenceSettings {
    fn default() -> Self {
        Self { min_blocks: 64, patience: Duration::from_secs(5) }
    }
}

/// Notices an engine that stores blocks while its stream says nothing of it.
///
/// A quiet stream may be that of an idle engine, or of one whose events are switched off, filtered away or lost on a broken
/// path. What tells them apart is something else that the engine says: counters that grow, requests that complete. Whoever
/// reads such a thing tells of the blocks that must have been stored since he last did.
///
/// Only what is certain should be told: a request of which the whole prompt was cached may store nothing. The first
/// telling after a batch is ignored, since that batch may have been about the same blocks. What is kept is one count.
///
/// ```
/// use std::time::Duration;
/// use llmd_core::event::{Silence, SilenceSettings};
///
/// let (mut silence, at) = (Silence::new(SilenceSettings::default()), Duration::from_secs);
/// silence.heard();
/// silence.stored(at(1), 500);
/// assert!(!silence.is_suspicious(at(60)), "the batch may have been about these");
/// silence.stored(at(60), 500);
/// assert!(!silence.is_suspicious(at(64)) && silence.is_suspicious(at(65)));
/// silence.heard();
/// assert!(!silence.is_suspicious(at(66)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    settings: SilenceSettings,
    /// Whether a batch came since somebody last told of blocks.
    heard: bool,
    /// Blocks that were stored since the last batch and its first telling.
    unheard: u64,
    /// When they became enough.
    since: Option<Duration>,
}

impl Silence {
    /// Nothing was heard, and nothing was missed.
    pub const fn new(settings: SilenceSettings) -> Self {
        Self { settings, heard: false, unheard: 0, since: None }
    }

    /// A batch came: the stream is alive.
    pub const fn heard(&mut self) {
        (self.heard, self.unheard, self.since) = (true, 0, None);
    }

    /// The engine stored at least so many blocks since this was last told.
    pub fn stored(&mut self, now: Duration, blocks: u64) {
        if std::mem::take(&mut self.heard) {
            return;
        }
        self.unheard = self.unheard.saturating_add(blocks);
        if self.unheard >= self.settings.min_blocks.max(1) {
            self.since.get_or_insert(now);
        }
    }

    /// Whether blocks were stored of which the stream should have said something by now.
    pub fn is_suspicious(&self, now: Duration) -> bool {
        self.since.is_some_and(|since| now >= since.saturating_add(self.settings.patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn an_engine_that_speaks_is_never_suspicious() {
        let mut silence = Silence::new(SilenceSettings::default());
        for second in 0..100 {
            silence.stored(at(second), 1000);
            silence.heard();
            assert!(!silence.is_suspicious(at(second + 50)));
        }
    }

    #[test]
    fn an_idle_engine_is_never_suspicious() {
        let mut silence = Silence::new(SilenceSettings::default());
        (0..100).for_each(|second| silence.stored(at(second), 0));
        assert!(!silence.is_suspicious(at(1000)));
    }

    #[test]
    fn few_blocks_add_up_and_then_their_events_have_their_time() {
        let mut silence = Silence::new(SilenceSettings::default());
        for second in 0..10 {
            silence.stored(at(second), 10);
        }
        assert!(!silence.is_suspicious(at(10)), "64 were there at second 6");
        assert!(silence.is_suspicious(at(11)));
    }
}
