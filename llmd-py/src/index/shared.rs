//! What an index and the streams that feed it share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llmd_core::feed::Feed;
use llmd_core::hash::Chain;
use llmd_core::index::{Explanation, PrefixIndex as _, WorkerState};
use llmd_core::{Error, ErrorKind, Result};
use pyo3::PyResult;

use crate::fork::{self, Forked};
use crate::occupancy::Occupancy;

/// An index, which knows whether it can still be written to.
#[derive(Debug)]
pub(crate) struct Shared {
    feed: Feed,
    /// In a forked child: the parent was writing when it forked, and what it had begun nobody will end.
    torn: AtomicBool,
    explaining: Occupancy,
}

impl Shared {
    pub(crate) fn new(feed: Feed) -> Arc<Self> {
        let shared = Arc::new(Self { feed, torn: AtomicBool::new(false), explaining: Occupancy::default() });
        let forked: Arc<dyn Forked> = Arc::<Self>::clone(&shared);
        fork::tell(Arc::downgrade(&forked));
        shared
    }

    /// The index, for whoever only reads.
    pub(crate) fn reading(&self) -> &Feed {
        &self.feed
    }

    /// The index, for whoever writes or may wait for one who does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a child that was forked while the parent wrote.
    pub(crate) fn writing(&self) -> Result<&Feed> {
        if self.is_torn() {
            let message = "the index was being written to when this process was forked; make it anew";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(&self.feed)
    }

    /// Has the index explain, for which it locks what is remembered of workers.
    ///
    /// # Errors
    ///
    /// `UnavailableError` in a forked child when a thread of its parent had something explained at the time: then nobody can
    /// write there either.
    pub(crate) fn explain(&self, chain: &Chain) -> PyResult<Explanation> {
        let _inside = self.explaining.enter_or_refuse("index")?;
        Ok(self.feed.reader().explain(chain))
    }

    pub(crate) fn is_torn(&self) -> bool {
        // Set before any other thread of the child is there.
        self.torn.load(Ordering::Relaxed)
    }
}

impl Forked for Shared {
    fn in_child(&self) {
        // Who has something explained locks what is remembered of workers, as whoever feeds does.
        if self.feed.is_writing() || self.explaining.enter().is_none() {
            self.feed.lose_writer();
            self.torn.store(true, Ordering::Relaxed);
        }
    }
}

/// The word for a state.
pub(crate) const fn word(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Exact => "exact",
        WorkerState::Recovering => "recovering",
        _ => "approximate",
    }
}
