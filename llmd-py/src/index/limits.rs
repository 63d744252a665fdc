//! What an index is made with, from Python's keyword arguments.

use llmd_core::feed::FeedSettings;
use llmd_core::index::IndexSettings;
use pyo3::prelude::*;

use crate::args::seconds;
use crate::whole::{Whole, named};

/// The bounds of an index, as they were given.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) max_workers: Option<Whole>,
    pub(super) max_blocks: Option<Whole>,
    pub(super) max_orphans: Option<Whole>,
    pub(super) max_remembered: Option<Whole>,
    pub(super) max_waiting: Option<Whole>,
    pub(super) max_payload: Option<Whole>,
    /// In seconds.
    pub(super) recover_within: Option<f64>,
    pub(super) silence_blocks: Option<Whole>,
    /// In seconds.
    pub(super) silence_patience: Option<f64>,
}

impl Limits {
    /// The settings with these bounds, and the defaults of what was not given.
    pub(super) fn settings(self) -> PyResult<(IndexSettings, FeedSettings)> {
        let recover_within = self.recover_within.map(|given| seconds("recover_within", given)).transpose()?;
        let patience = self.silence_patience.map(|given| seconds("silence_patience", given)).transpose()?;
        let or = |value, name: &str, default: usize| Ok::<_, PyErr>(named(value, name)?.unwrap_or(default));
        let default = IndexSettings::default();
        let index = default
            .with_max_blocks(or(self.max_blocks, "max_blocks", default.max_blocks)?)
            .with_max_orphans(or(self.max_orphans, "max_orphans", default.max_orphans)?)
            .with_max_remembered(or(self.max_remembered, "max_remembered", default.max_remembered)?);
        let default = FeedSettings::default();
        let mut silence = default.silence;
        silence.min_blocks = named(self.silence_blocks, "silence_blocks")?.unwrap_or(silence.min_blocks);
        silence.patience = patience.unwrap_or(silence.patience);
        let feed = default
            .with_max_workers(or(self.max_workers, "max_workers", default.max_workers)?)
            .with_max_waiting(or(self.max_waiting, "max_waiting", default.max_waiting)?)
            .with_max_payload(or(self.max_payload, "max_payload", default.max_payload)?)
            .with_recover_within(recover_within.unwrap_or(default.recover_within))
            .with_silence(silence);
        Ok((index, feed))
    }
}
