//! Where a request goes, and the place that is held for it there.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::parts::{Followers, Parts, Runs};
use crate::plugin::{Attributes, Picked, PrefixMatch};
use crate::producer::Reservation;
use crate::profile::Run;
use crate::{Endpoint, Headers, Pool, Usage};

/// Where a request goes. The request counts as in flight there until this is told the [`end`](Self::end), or drops.
///
/// Whoever sends the request says how it goes on: [`advance`](Self::advance) when the endpoint fails before its first
/// byte, [`first_token`](Self::first_token), [`end`](Self::end) or [`abort`](Self::abort). Dropped without an end, the request
/// was aborted.
#[derive(Debug)]
#[must_use = "the reservation is released when the decision drops"]
pub struct Decision {
    pub(super) parts: Arc<Parts>,
    pub(super) pool: Pool,
    pub(super) attributes: Attributes,
    pub(super) runs: Runs,
    pub(super) primary: usize,
    /// How many of the primary's ranked endpoints failed before the current one.
    pub(super) tried: usize,
    pub(super) reservations: SmallVec<[Option<Reservation>; 1]>,
    pub(super) hooks: Followers,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) stage: Stage,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Sent,
    Answering,
    Over,
}

impl Decision {
    /// Where the request goes now.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.pool[self.place()]
    }

    /// Every candidate, best first: those that the picker picked, then the others by score. Those that were tried stay.
    pub fn ranked(&self) -> impl ExactSizeIterator<Item = &Arc<Endpoint>> + Clone {
        self.run().ranked().map(|place| &self.pool[place])
    }

    /// How many of [`ranked`](Self::ranked) the picker picked.
    pub fn picked(&self) -> usize {
        self.run().ranked.picked()
    }

    /// Where the profile of this name sends the request; `None` when it did not run, or its filters left nobody.
    pub fn endpoint_of(&self, profile: &str) -> Option<&Arc<Endpoint>> {
        let run = self.runs.iter().find(|run| self.parts.names[run.profile] == profile)?;
        if std::ptr::eq(run, self.run()) { Some(self.endpoint()) } else { run.first().map(|place| &self.pool[place]) }
    }

    /// The endpoint failed before its first byte: the reservation moves to the next ranked one. `None` when all were tried,
    /// or the request is over; the reservation then stays where it is.
    pub fn advance(&mut self, now: Duration) -> Option<&Arc<Endpoint>> {
        let next = self.run().ranked().nth(self.tried + 1).filter(|_| self.stage != Stage::Over)?;
        self.tried += 1;
        self.stage = Stage::Sent;
        let endpoint = &self.pool[next];
        let reservation = self.parts.in_flight.reserve(endpoint, &self.attributes, next, self.max_output_tokens);
        self.reservations[self.primary] = Some(reservation);
        self.tell_picked(now);
        Some(self.endpoint())
    }

    /// How many tokens of the prompt the endpoint is expected to take from its cache; 0 when no plugin looks at caches.
    pub fn predicted_hit_tokens(&self) -> usize {
        self.attributes.hit_tokens(self.place()) as usize
    }

    /// What is known about the endpoint's cache; `None` when no plugin looks at caches, or the request has no tokens.
    pub fn prefix_match(&self) -> Option<&PrefixMatch> {
        self.attributes.prefix_match(self.place())
    }

    /// Headers to add to the response.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::default();
        self.hooks.iter().for_each(|hooks| hooks.response_headers(self.endpoint(), &mut headers));
        headers
    }

    /// The first token came back: the prompt has been computed, and its tokens are in flight no more. Later ones are not
    /// heard.
    pub fn first_token(&mut self, now: Duration) {
        if self.stage == Stage::Sent {
            self.stage = Stage::Answering;
            self.reservations.iter_mut().flatten().for_each(Reservation::first_token);
            self.hooks.iter_mut().for_each(|hooks| hooks.first_token(now));
        }
    }

    /// The response is complete: the reservation is released. What comes after is not heard.
    pub fn end(&mut self, now: Duration, usage: &Usage) {
        if self.release() {
            self.hooks.iter_mut().for_each(|hooks| hooks.end(now, usage));
        }
    }

    /// The request ends without a complete response: the reservation is released, as when the decision drops. What comes
    /// after is not heard.
    pub fn abort(&mut self) {
        if self.release() {
            self.hooks.iter_mut().for_each(|hooks| hooks.abort());
        }
    }

    pub(super) fn tell_picked(&mut self, now: Duration) {
        let picked = Picked::new(&self.pool[self.runs[self.primary].ranked_place(self.tried)], &self.pool, now);
        self.hooks.iter_mut().for_each(|hooks| hooks.picked(&picked));
    }

    pub(super) fn run(&self) -> &Run {
        &self.runs[self.primary]
    }

    /// The current endpoint's place in the pool.
    pub(super) fn place(&self) -> usize {
        self.run().ranked_place(self.tried)
    }

    /// Whether there was something to release.
    fn release(&mut self) -> bool {
        self.reservations.clear();
        std::mem::replace(&mut self.stage, Stage::Over) != Stage::Over
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        self.abort();
    }
}
