//! What says when copies are done.

use std::fmt::{self, Debug};

use llmd_core::Result;

/// How a device knows that copies are done, for those who implement [`Device`](super::Device).
pub trait Completion: Debug + Send {
    /// Whether they are. Nothing is asked again after an error or a yes.
    ///
    /// # Errors
    ///
    /// Why they never will be.
    fn is_done(&mut self) -> Result<bool>;

    /// Blocks until they are. Nothing is asked again.
    ///
    /// # Errors
    ///
    /// Why they never will be.
    fn wait(&mut self) -> Result<()>;
}

/// Copies that were submitted. What they use lives until they are done: a ticket that drops earlier waits.
#[must_use = "dropping it waits for the copies, and forgets whether they failed"]
pub struct Ticket {
    under_way: Option<Box<dyn Completion>>,
    /// What the copies use, which is let go of last.
    keep: Vec<Box<dyn Send>>,
}

impl Ticket {
    /// Copies that are done already.
    pub const fn done() -> Self {
        Self { under_way: None, keep: Vec::new() }
    }

    /// Copies that are done when `completion` says so, and use what is in `keep`.
    pub fn new(completion: impl Completion + 'static, keep: impl IntoIterator<Item = Box<dyn Send>>) -> Self {
        Self { under_way: Some(Box::new(completion)), keep: keep.into_iter().collect() }
    }

    /// The same, which lets go of this too when the copies are done.
    pub(crate) fn holding(mut self, what: impl Send + 'static) -> Self {
        if self.under_way.is_some() {
            self.keep.push(Box::new(what));
        }
        self
    }

    /// Whether the copies are done. It never blocks.
    ///
    /// # Errors
    ///
    /// Why some never will be, once: afterwards they are done.
    pub fn is_done(&mut self) -> Result<bool> {
        let Some(completion) = &mut self.under_way else { return Ok(true) };
        let is_done = completion.is_done();
        if !matches!(is_done, Ok(false)) {
            self.settle();
        }
        is_done
    }

    /// Blocks until the copies are done.
    ///
    /// # Errors
    ///
    /// Why some never will be, unless [`is_done`](Self::is_done) said it.
    pub fn wait(mut self) -> Result<()> {
        let waited = self.under_way.as_mut().map_or(Ok(()), |completion| completion.wait());
        self.settle();
        waited
    }

    fn settle(&mut self) {
        self.under_way = None;
        self.keep.clear();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(completion) = &mut self.under_way {
            // Nobody is left to tell.
            _ = completion.wait();
        }
        self.settle();
    }
}

impl Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.under_way).finish()
    }
}
