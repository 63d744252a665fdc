//! What an index and the streams that feed it share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llmd_core::feed::Feed;
use llmd_core::index::WorkerState;
use llmd_core::{Error, ErrorKind, Result};

use crate::fork::{self, Forked};

/// An index, which knows whether it can still be written to.
#[derive(Debug)]
pub(crate) struct Shared {
    feed: Feed,
    /// In a forked child: the parent was writing when it forked, and what it had begun nobody will end.
    torn: AtomicBool,
}

impl Shared {
    pub(crate) fn new(feed: Feed) -> Arc<Self> {
        let shared = Arc::new(Self { feed, torn: AtomicBool::new(false) });
        let forked: Arc<dyn Forked> = Arc::<Self>::clone(&shared);
        fork::tell(Arc::downgrade(&forked));
        shared
    }

    /// The index, for whoever only reads and waits for nobody.
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

    pub(crate) fn is_torn(&self) -> bool {
        // Set before any other thread of the child is there.
        self.torn.load(Ordering::Relaxed)
    }
}

impl Forked for Shared {
    fn in_child(&self) {
        if self.feed.is_writing() {
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
