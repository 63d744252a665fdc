//! The limits of a feed.

use std::time::Duration;

use crate::event::SilenceSettings;

/// The limits of a [`Feed`](super::Feed). Every default is in the field's description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FeedSettings {
    /// How many workers there can be. Default: 4096.
    pub max_workers: usize,
    /// How many bytes a payload can have. Default: 64 MiB.
    pub max_payload: usize,
    /// How many batches of one worker may wait while those before them are missing. More are dropped, counted, and
    /// missing too. Default: 4096.
    pub max_waiting: usize,
    /// How long what is missing is waited for, from when it was last filled in further; the next batch after that gives
    /// it up. Zero, where nobody can replay, gives up at once. Default: 10 s.
    pub recover_within: Duration,
    /// When an engine is taken to store blocks while its stream says nothing: see [`Feed::stored`](super::Feed::stored).
    /// Default: 64 blocks, 5 s.
    pub silence: SilenceSettings,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            max_workers: 4096,
            max_payload: 64 << 20,
            max_waiting: 4096,
            recover_within: Duration::from_secs(10),
            silence: SilenceSettings::default(),
        }
    }
}

impl FeedSettings {
    /// The same, with this limit to how many workers there are.
    #[must_use]
    pub fn with_max_workers(self, max_workers: usize) -> Self {
        Self { max_workers, ..self }
    }

    /// The same, with this limit to the bytes of a payload.
    #[must_use]
    pub fn with_max_payload(self, max_payload: usize) -> Self {
        Self { max_payload, ..self }
    }

    /// The same, with this limit to the batches of a worker that wait.
    #[must_use]
    pub fn with_max_waiting(self, max_waiting: usize) -> Self {
        Self { max_waiting, ..self }
    }

    /// The same, with this limit to how long what is missing is waited for.
    #[must_use]
    pub fn with_recover_within(self, recover_within: Duration) -> Self {
        Self { recover_within, ..self }
    }

    /// The same, with this patience with a silent engine.
    #[must_use]
    pub fn with_silence(self, silence: SilenceSettings) -> Self {
        Self { silence, ..self }
    }
}
