//! Where a request goes, and the place that is held for it there.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::parts::{Followers, Parts, Runs};
use super::reserved::Reserved;
use crate::plugin::{Attributes, Dropped, HeaderChanges, Picked, PrefixMatch, Reported, Route, Snapshot, Stage};
use crate::profile::Run;
use crate::{Endpoint, Headers, Pool, Usage};

/// How vLLM is told which of its data-parallel ranks a request is for.
const RANK_HEADER: &str = "x-data-parallel-rank";

/// Headers by which engines and sidecars are told where KV comes from and which rank computes: a client that could set them
/// could reach another tenant's blocks, or any host of the network.
const NOT_FROM_CLIENTS: [&str; 6] = [
    "x-data-parallel-host-port",
    RANK_HEADER,
    "x-encoder-hosts-ports",
    "x-gateway-destination-endpoint",
    "x-kv-cache-source-host-port",
    "x-prefiller-host-port",
];

/// Where a request goes. The request counts as in flight there until this is told the [`end`](Self::end), or drops.
///
/// Whoever sends the request says how it goes on: [`advance`](Self::advance) when the endpoint fails before its first
/// byte, [`first_token`](Self::first_token), [`end`](Self::end) or [`abort`](Self::abort). Dropped without an end, the request
/// was aborted. One that is forgotten counts until its deadline, which [`renew`](Self::renew) puts off.
#[derive(Debug)]
#[must_use = "the reservation is released when the decision drops"]
pub struct Decision {
    pub(super) parts: Arc<Parts>,
    pub(super) pool: Pool,
    pub(super) snapshot: Snapshot,
    pub(super) attributes: Attributes,
    /// Who was taken out before any profile ran.
    pub(super) screened: Vec<Dropped>,
    pub(super) runs: Runs,
    pub(super) primary: usize,
    pub(super) skipped: SmallVec<[Stage; 1]>,
    pub(super) reserved: Reserved,
    pub(super) hooks: Followers,
    pub(super) progress: Progress,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    Sent,
    Answering,
    Over,
}

impl Decision {
    /// Where the request goes now.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.pool[self.place()]
    }

    /// The data-parallel rank that it is for; `None` when the engine there has one, or chooses itself.
    pub fn rank(&self) -> Option<u32> {
        self.endpoint().rank()
    }

    /// Every candidate, best first: those that the picker picked, then the others by score. Those that were tried stay.
    pub fn ranked(&self) -> impl ExactSizeIterator<Item = &Arc<Endpoint>> + Clone {
        self.run().ranked().map(|place| &self.pool[place])
    }

    /// How many of [`ranked`](Self::ranked) the picker picked.
    pub fn picked(&self) -> usize {
        self.run().picks.picked()
    }

    /// Where the profile of this name sends the request; `None` when it did not run, or its filters left nobody.
    pub fn endpoint_of(&self, profile: &str) -> Option<&Arc<Endpoint>> {
        let run = self.runs.iter().find(|run| self.parts.names[run.profile] == profile)?;
        run.current().map(|place| &self.pool[place])
    }

    /// Counts the request in, where the configuration says that it counts from when it is sent; else it does already.
    pub fn sent(&mut self, now: Duration) {
        if self.progress != Progress::Sent || !self.reserved.begin() {
            return;
        }
        let places: SmallVec<[usize; 3]> = self.staged().collect();
        let Self { parts, runs, pool, attributes, reserved, .. } = self;
        for place in places {
            reserved.again(&parts.in_flight, runs, place, pool, attributes, now);
        }
    }

    /// The endpoint failed before its first byte: the reservation moves to the next ranked one. `None` when all were tried,
    /// the first token came, or the request is over; the reservation then stays where it is.
    pub fn advance(&mut self, now: Duration) -> Option<&Arc<Endpoint>> {
        if self.progress != Progress::Sent {
            return None;
        }
        self.next_of(self.primary, now)?;
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

    /// What header processors and producers said about the request under this name, such as `agent-identity`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.text(name)
    }

    /// Changes to the headers of the request that goes to the endpoints: where its other stages are done, and for which
    /// rank it is.
    pub fn request_headers(&self) -> HeaderChanges {
        let mut changes = HeaderChanges::default();
        changes.remove.extend(NOT_FROM_CLIENTS.map(Into::into));
        let route = self.route();
        self.hooks.iter().for_each(|hooks| hooks.request_headers(&route, &mut changes));
        if let Some(rank) = self.rank() {
            changes.set.insert(RANK_HEADER, rank.to_string());
        }
        changes
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
        if self.progress == Progress::Sent {
            self.progress = Progress::Answering;
            self.reserved.first_token(&self.runs, now, self.parts.in_flight.ttl);
            self.hooks.iter_mut().for_each(|hooks| hooks.first_token(now));
        }
    }

    /// The request goes on: its reservation lapses as long after now as after a decision. One that has lapsed stays so.
    pub fn renew(&self, now: Duration) {
        self.reserved.renew(now, self.parts.in_flight.ttl);
    }

    /// The response is complete: the reservation is released. What comes after is not heard.
    pub fn end(&mut self, now: Duration, usage: &Usage) {
        if self.release() {
            self.hooks.iter_mut().for_each(|hooks| hooks.end(now, usage));
        }
    }

    /// What plugins report of a complete response that took this much.
    pub fn report(&self, usage: &Usage) -> Vec<Reported> {
        let mut report = Vec::new();
        self.hooks.iter().for_each(|hooks| hooks.report(usage, &mut report));
        report
    }

    /// The request ends without a complete response: the reservation is released, as when the decision drops. What comes
    /// after is not heard.
    pub fn abort(&mut self) {
        if self.release() {
            self.hooks.iter_mut().for_each(|hooks| hooks.abort());
        }
    }

    /// Tells where each stage goes.
    pub(super) fn tell_all_picked(&mut self, now: Duration) {
        let places: SmallVec<[usize; 3]> = self.staged().collect();
        places.into_iter().for_each(|place| self.tell_picked(place, now));
    }

    /// Tells where a run sends the request.
    pub(super) fn tell_picked(&mut self, place: usize, now: Duration) {
        let run = &self.runs[place];
        let Some(chosen) = run.current() else { return };
        let profile = &self.parts.names[run.profile];
        let picked = Picked::new(&self.pool[chosen], &self.pool, now).of(run.stage).by(profile);
        self.hooks.iter_mut().for_each(|hooks| hooks.picked(&picked));
    }

    pub(super) fn run(&self) -> &Run {
        &self.runs[self.primary]
    }

    /// The current endpoint's place in the pool.
    pub(super) fn place(&self) -> usize {
        self.run().current().expect("the run that decides has a candidate at each rank")
    }

    fn route(&self) -> Route<'_> {
        let chosen = |place: usize| {
            let run = &self.runs[place];
            let several =
                if run.stage == Stage::Encode { run.picks.picked().saturating_sub(run.tried).max(1) } else { 1 };
            let places = (run.tried..run.tried + several).filter_map(|rank| run.at(rank));
            places.map(|chosen| (run.stage, &self.pool[chosen], chosen))
        };
        let mut stages: SmallVec<[_; 3]> = self.staged().flat_map(chosen).collect();
        stages.sort_by_key(|&(stage, ..)| stage);
        Route { stages, pool: &self.pool, attributes: &self.attributes }
    }

    /// Whether there was something to release.
    fn release(&mut self) -> bool {
        self.reserved.release_all();
        std::mem::replace(&mut self.progress, Progress::Over) != Progress::Over
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        self.abort();
    }
}
