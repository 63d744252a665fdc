//! Who a worker is, and how far its stream was heard.

use std::sync::Arc;

use super::Cursor;
use super::cursor::{put_long, put_option};
use crate::Result;
use crate::event::Anchor;

/// Who a worker in a snapshot is, and how far its stream was heard: what an index does not know by itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// The worker's name; a [`WorkerId`](crate::WorkerId) means nothing to another process.
    pub name: Arc<str>,
    /// Where its sequencer stands.
    pub anchor: Anchor,
    /// Whether a batch with a number was ever heard.
    pub numbered: bool,
    /// Whether a batch without a number is among what is known.
    pub unnumbered: bool,
    /// The newest time at which its engine made a batch, in seconds of the engine's clock.
    pub newest: f64,
}

impl Standing {
    /// The bytes that a worker takes at least.
    pub(super) const LEAST: usize = 8 + 1 + 3 + 2 + 8;

    /// A worker of which no batch was heard.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self { name, anchor: Anchor::default(), numbered: false, unnumbered: false, newest: f64::NEG_INFINITY }
    }

    /// The same, whose sequencer stands here.
    #[must_use]
    pub fn with_anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        put_long(out, self.name.as_bytes());
        put_option(out, self.anchor.last, |out, (seq, fingerprint)| {
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(&fingerprint.to_le_bytes());
        });
        let Anchor { complete, forgotten, offloads, .. } = self.anchor;
        out.extend([complete, forgotten, offloads, self.numbered, self.unnumbered].map(u8::from));
        out.extend_from_slice(&self.newest.to_le_bytes());
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let mut standing = Self::new(from.text("worker's name")?);
        standing.anchor.last = from.option("anchor", |from, what| Ok((from.u64(what)?, from.u64(what)?)))?;
        standing.anchor.complete = from.bool("whether all is known")?;
        standing.anchor.forgotten = from.bool("whether the first batches are out of reach")?;
        standing.anchor.offloads = from.bool("whether the worker offloads")?;
        standing.numbered = from.bool("whether batches had numbers")?;
        standing.unnumbered = from.bool("whether batches had none")?;
        standing.newest = from.f64("time of the newest batch")?;
        Ok(standing)
    }
}
