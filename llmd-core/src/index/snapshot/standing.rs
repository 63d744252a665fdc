//! Who a worker is, and how far its stream was heard.

use std::sync::Arc;
use std::time::Duration;

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
}

impl Standing {
    /// The bytes that a worker takes at least.
    pub(super) const LEAST: usize = 8 + 3 + 3 + 2;

    /// A worker of which no batch was heard.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self { name, anchor: Anchor::default(), numbered: false, unnumbered: false }
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
        put_option(out, self.anchor.first, |out, first| out.extend_from_slice(&first.to_le_bytes()));
        put_option(out, self.anchor.newest, |out, newest| {
            out.extend_from_slice(&newest.as_secs().to_le_bytes());
            out.extend_from_slice(&newest.subsec_nanos().to_le_bytes());
        });
        let Anchor { complete, forgotten, offloads, .. } = self.anchor;
        out.extend([complete, forgotten, offloads, self.numbered, self.unnumbered].map(u8::from));
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let mut standing = Self::new(from.text("worker's name")?);
        standing.anchor.last = from.option("anchor", |from, what| Ok((from.u64(what)?, from.u64(what)?)))?;
        standing.anchor.first = from.option("first batch", Cursor::u64)?;
        standing.anchor.newest = from.option("time of the newest batch", read_time)?;
        standing.anchor.complete = from.bool("whether all is known")?;
        standing.anchor.forgotten = from.bool("whether the first batches are out of reach")?;
        standing.anchor.offloads = from.bool("whether the worker offloads")?;
        standing.numbered = from.bool("whether batches had numbers")?;
        standing.unnumbered = from.bool("whether batches had none")?;
        Ok(standing)
    }
}

fn read_time(from: &mut Cursor<'_>, what: &'static str) -> Result<Duration> {
    let (seconds, nanos) = (from.u64(what)?, from.u32(what)?);
    if nanos >= 1_000_000_000 {
        return Err(from.corrupt(format_args!("{what} with {nanos} ns; expected less than a second")));
    }
    Ok(Duration::new(seconds, nanos))
}
