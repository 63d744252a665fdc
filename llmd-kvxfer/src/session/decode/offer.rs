//! What a prefiller offers of a request, and for how long.

use std::sync::Arc;
use std::time::Duration;

use super::load::Out;
use super::{Action, Settings};
use crate::session::{Params, RequestId};

/// What a prefiller offers of a request.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) params: Params,
    prompt_tokens: u32,
    /// The leases last until then, if the producer heard of it.
    pub(super) kept_until: Duration,
    keep_at: Duration,
    /// It waits for its turn until then.
    pub(super) wait_until: Duration,
}

impl Offer {
    /// Its leases are kept at once: nobody knows for how long the answer travelled.
    pub(super) fn new(now: Duration, prompt_tokens: u32, params: Params, settings: &Settings) -> Self {
        let (kept_until, wait_until) = (now.saturating_add(params.ttl()), now.saturating_add(settings.wait_at_most));
        Self { params, prompt_tokens, kept_until, keep_at: now, wait_until }
    }

    /// When [`keep`](Self::keep) has something to do.
    pub(super) const fn keep_at(&self) -> Duration {
        self.keep_at
    }

    /// Keeps the leases of these parts, when it is time for it.
    pub(super) fn keep(&mut self, now: Duration, id: &RequestId, is_wanted: impl Fn(usize) -> bool, out: &mut Out) {
        if self.keep_at > now {
            return;
        }
        let ttl = self.params.ttl();
        self.kept_until = now.saturating_add(ttl);
        self.keep_at = now.saturating_add((ttl / 3).max(Duration::from_millis(1)));
        for (_, granted) in self.params.granted().iter().enumerate().filter(|(part, _)| is_wanted(*part)) {
            let grant = Arc::clone(&granted.grant);
            out.actions.push(Action::Keep { request: id.clone(), part: granted.part, grant });
        }
    }

    /// Gives these parts up.
    pub(super) fn release(&self, id: &RequestId, is_left: impl Fn(usize) -> bool, out: &mut Out) {
        for (_, granted) in self.params.granted().iter().enumerate().filter(|(part, _)| is_left(*part)) {
            let grant = Arc::clone(&granted.grant);
            out.actions.push(Action::Release { request: id.clone(), part: granted.part, grant });
        }
    }

    /// At which token what comes from outside ends at the latest.
    pub(super) fn end(&self, settings: &Settings) -> u32 {
        settings.end(self.params.tokens(), self.prompt_tokens)
    }
}
