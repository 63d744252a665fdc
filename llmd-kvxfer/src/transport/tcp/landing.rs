//! What is on its way into a device, or out of it for nobody any more.

use smallvec::SmallVec;

use super::super::outcome_of;
use super::crossing::Crossing;
use super::pull::{Ended, Segment};

/// A segment that came, on its way into a device. Nothing of the connection that brought it is needed any more.
#[derive(Debug)]
pub(super) struct Landing {
    /// `None` for what somebody asked for who has hung up: the device is only waited for.
    segment: Option<Segment>,
    wrong: SmallVec<[usize; 4]>,
    crossing: Crossing,
}

impl Landing {
    pub(super) const fn new(segment: Segment, wrong: SmallVec<[usize; 4]>, crossing: Crossing) -> Self {
        Self { segment: Some(segment), wrong, crossing }
    }

    /// What the device was asked for, and nobody wants; `None` when it was not asked yet.
    pub(super) fn for_nobody(crossing: Crossing) -> Option<Self> {
        crossing.has_begun().then(|| Self { segment: None, wrong: SmallVec::new(), crossing })
    }

    /// Goes on as far as the device has come; gives itself back while that has not finished.
    pub(super) fn go_on(mut self, ended: &Ended<'_>) -> Option<Self> {
        let is_stopped = self.segment.as_ref().is_some_and(|segment| segment.pull.is_stopped());
        if is_stopped && !self.crossing.has_begun() {
            // What the device was not asked for is not written.
            self.segment.take()?.end(ended);
            return None;
        }
        match self.crossing.go_on() {
            Ok(false) => return Some(self),
            Ok(true) => self.segment?.arrived(&self.wrong, ended),
            Err(error) => self.segment?.fail(outcome_of(error.kind()), error.to_string(), ended),
        }
        None
    }
}
