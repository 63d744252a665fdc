//! What is to be brought here, and how.

use std::time::Duration;

use crate::grant::Grant;
use crate::pool::Pool;

/// Blocks to be brought here, for [`Agent::submit`](super::Agent::submit).
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is fetched until it is submitted"]
pub struct Fetch<'a> {
    pub(super) grant: &'a Grant,
    pub(super) pool: &'a Pool,
    pub(super) blocks: &'a [u32],
    pub(super) within: Duration,
    pub(super) only: Option<&'a [&'a str]>,
    pub(super) is_held: bool,
    pub(super) priority: u8,
}

impl<'a> Fetch<'a> {
    /// All blocks of this grant into these of a pool of ours, within 30 seconds, by whichever transport is fastest.
    pub const fn new(grant: &'a Grant, pool: &'a Pool, blocks: &'a [u32]) -> Self {
        let within = Duration::from_secs(30);
        Self { grant, pool, blocks, within, only: None, is_held: false, priority: 0 }
    }

    /// Within this time: what is not here then has failed.
    pub const fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// By one of these transports alone.
    pub const fn only(self, transports: &'a [&'a str]) -> Self {
        Self { only: Some(transports), ..self }
    }

    /// Keeping the lease when it ended, for more to be fetched: whoever granted is told only by
    /// [`Agent::finish`](super::Agent::finish).
    pub const fn and_hold(self) -> Self {
        Self { is_held: true, ..self }
    }

    /// Before those with a lower priority, where a transport has several to do. The default is 0.
    pub const fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }
}
