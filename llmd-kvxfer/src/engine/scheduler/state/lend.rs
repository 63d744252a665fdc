//! What was computed is lent: the workers are asked for grants, and waited for.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{GroupIdx, Result};

use super::State;
use crate::engine::clock::Clock;
use crate::engine::message::{Command, Groups};
use crate::engine::scheduler::invalid;
use crate::engine::scheduler::known::{Request, Stage, Told};
use crate::engine::wait::wait;
use crate::session::{GrantBytes, Granted, Params, Part, RequestId};

/// What the workers were asked, and what they answered.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) number: u64,
    pub(super) answers: Vec<Option<Answer>>,
}

pub(super) type Answer = Result<Vec<(GroupIdx, GrantBytes)>, String>;

/// How long it looks again and again for an answer before it sleeps until one is there.
const LOOK: Duration = Duration::from_micros(60);

impl State {
    pub(in crate::engine::scheduler) fn computed(
        &mut self,
        clock: Clock,
        id: &RequestId,
        tokens: u32,
        mut groups: Groups,
    ) -> Result<Option<Params>> {
        groups.sort_by_key(|(group, ..)| *group);
        self.check_computed(id, tokens, &groups)?;
        self.hear(clock.now());
        if !self.is_connected() {
            self.stats.not_connected += 1;
            return Ok(None);
        }
        if self.known.requests.len() >= self.settings.max_requests && !self.known.requests.contains_key(id) {
            self.stats.refused += 1;
            return Ok(None);
        }
        self.withdraw(clock.now(), id);
        let number = self.known.number();
        let from_tokens: Vec<_> = groups.iter().map(|(_, from_token, _)| *from_token).collect();
        let command = Command::Computed { number, id: id.clone(), tokens, groups };
        self.asking = Some(Asking { number, answers: vec![None; self.links.len()] });
        self.say_to_all(clock.now(), &command);
        self.await_answers(clock);
        let asked = self.asking.take().map(|asking| asking.answers).unwrap_or_default();
        let params = self.params(tokens, &from_tokens, asked);
        match params {
            Some(params) => {
                self.stats.answered += 1;
                let told = Told::new(number, self.links.len());
                self.known.set(id, Request { stage: Stage::Lent(told), offered: None });
                Ok(Some(params))
            }
            None => {
                self.say_to_all(clock.now(), &Command::GiveUp { id: id.clone() });
                Ok(None)
            }
        }
    }

    fn check_computed(&self, id: &RequestId, tokens: u32, groups: &Groups) -> Result<()> {
        if tokens == 0 {
            return Err(invalid(format!("{id} has 0 tokens: expected 1 or more")));
        }
        let named = groups.iter().map(|(group, ..)| group);
        if !named.clone().eq(self.layouts.keys()) {
            let listed = |groups: &mut dyn Iterator<Item = &GroupIdx>| {
                groups.map(|group| group.0.to_string()).collect::<Vec<_>>().join(", ")
            };
            let (given, expected) = (listed(&mut named.into_iter()), listed(&mut self.layouts.keys()));
            return Err(invalid(format!("{id} has blocks of groups [{given}]: expected [{expected}]")));
        }
        if let Some(Request { stage: Stage::Lent(_), .. }) = self.known.requests.get(id) {
            return Err(invalid(format!("{id} is lent already: expected one that is not")));
        }
        Ok(())
    }

    /// Waits until all have answered, one says no, or is lost, or patience is over.
    fn await_answers(&mut self, clock: Clock) {
        let begun = clock.now();
        loop {
            let now = clock.now();
            self.hear(now);
            let Some(asking) = &self.asking else { return };
            let is_refused = asking.answers.iter().flatten().any(Result::is_err);
            let is_over = asking.answers.iter().all(Option::is_some);
            let waited = now.saturating_sub(begun);
            if is_refused || is_over || !self.is_connected() || waited >= self.settings.patience {
                return;
            }
            if waited < LOOK {
                std::thread::yield_now();
                continue;
            }
            let streams = self.connections();
            let watched: Vec<_> = streams.iter().map(|(stream, what)| (stream.as_fd(), *what)).collect();
            wait(&watched, Some(self.settings.patience - waited));
        }
    }

    /// What all workers' grants are together, if all granted.
    fn params(&mut self, tokens: u32, from_tokens: &[u32], answers: Vec<Option<Answer>>) -> Option<Params> {
        if let Some(why) = answers.iter().flatten().find_map(|answer| answer.as_ref().err()) {
            self.stats.not_granted += 1;
            self.stats.last_failure = Some(why.clone());
            return None;
        }
        let Some(answers) = answers.into_iter().map(|answer| answer.and_then(Result::ok)).collect::<Option<Vec<_>>>()
        else {
            let is_lost = !self.is_connected();
            let count = if is_lost { &mut self.stats.not_connected } else { &mut self.stats.too_late };
            *count += 1;
            return None;
        };
        let ttl = self.links.iter().filter_map(|link| link.here.as_ref()).map(|here| here.ttl).min()?;
        let mut granted = Vec::new();
        for (place, (group, from_token)) in self.layouts.keys().zip(from_tokens).enumerate() {
            for (shard, grants) in answers.iter().enumerate() {
                let (_, grant) = grants.get(place).filter(|(there, _)| there == group)?;
                let part = Part { group: *group, shard: shard as u32 };
                granted.push(Granted { part, from_token: *from_token, grant: Arc::clone(grant) });
            }
        }
        Params::new(tokens, ttl, granted)
            .inspect_err(|error| {
                self.stats.too_long += 1;
                self.stats.last_failure = Some(error.to_string());
            })
            .ok()
    }
}
