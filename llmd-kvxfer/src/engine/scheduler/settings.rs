//! How a scheduler behaves.

use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use crate::session::decode::{self, Loading};

/// How a scheduler behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SchedulerSettings {
    /// How many tokens a block has by which the engine counts its hits. Default: 16.
    pub block_tokens: u32,
    /// Fewer tokens than these are computed here. Default: 1.
    pub min_tokens: u32,
    /// How the engine takes tokens from outside. Default: [`Loading::InBackground`].
    pub loading: Loading,
    /// How long it waits for the workers to grant what was computed. Default: 100 ms.
    pub patience: Duration,
    /// How long it waits for its workers when it is made. Default: 10 s.
    pub connect_within: Duration,
    /// At most how many requests it knows. Default: 16 384.
    pub max_requests: usize,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            block_tokens: 16,
            min_tokens: 1,
            loading: Loading::InBackground,
            patience: Duration::from_millis(100),
            connect_within: Duration::from_secs(10),
            max_requests: 16_384,
        }
    }
}

impl SchedulerSettings {
    pub(super) fn check(&self) -> Result<()> {
        if self.max_requests == 0 {
            return Err(Error::new(ErrorKind::Invalid, "max_requests 0: expected 1 or more"));
        }
        self.decode().check()
    }

    /// What a decoder goes by when it says how much can come.
    pub(super) fn decode(&self) -> decode::Settings {
        let Self { block_tokens, min_tokens, loading, .. } = *self;
        decode::Settings { block_tokens, min_tokens, loading, ..decode::Settings::default() }
    }
}
