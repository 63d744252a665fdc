//! A request that goes through several endpoints, one stage after the other.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::decision::{Decision, Progress};
use crate::Endpoint;
use crate::plugin::{Fallback, Stage};

/// One stage of a request, and the endpoint that does it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageRoute<'a> {
    /// The stage.
    pub stage: Stage,
    /// The profile that chose.
    pub profile: &'a str,
    /// The endpoint that does it now.
    pub endpoint: &'a Arc<Endpoint>,
    /// The data-parallel rank that it is for, where the engine has several.
    pub rank: Option<u32>,
    /// Every candidate, best first. Those that were tried stay.
    pub ranked: SmallVec<[&'a Arc<Endpoint>; 8]>,
    /// How many tokens of the prompt the endpoint is expected to take from its cache; 0 when no plugin looks at caches.
    pub predicted_hit_tokens: usize,
    /// How long the stage may take, from when it is begun; `None` is as long as the whole request.
    pub deadline: Option<Duration>,
}

/// How a request goes on after an endpoint failed at one of its stages.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NextStep {
    /// This endpoint does the stage.
    Retry(Arc<Endpoint>),
    /// The endpoint of the next stage does it as well.
    Without,
    /// It does not go on.
    Fail,
}

impl Decision {
    /// The stages that have an endpoint of their own, in the order in which they are done. The last is the decode, which
    /// answers.
    pub fn stages(&self) -> Vec<StageRoute<'_>> {
        let mut stages: Vec<_> = self.staged().filter_map(|place| self.stage_route(place)).collect();
        stages.sort_by_key(|stage| stage.stage);
        stages
    }

    /// Where a stage goes; `None` when it has no endpoint of its own.
    pub fn stage(&self, stage: Stage) -> Option<StageRoute<'_>> {
        self.staged().find(|&place| self.runs[place].stage == stage).and_then(|place| self.stage_route(place))
    }

    /// Stages that were wanted, and for which nobody was left: the endpoint of the next one does them as well.
    pub fn skipped(&self) -> &[Stage] {
        &self.skipped
    }

    /// The endpoint of a stage failed at it: says how the request goes on, and reserves there. An endpoint that does not
    /// fit those of the other stages is passed over. After the first token, a request does not go on elsewhere.
    pub fn stage_failed(&mut self, stage: Stage, now: Duration) -> NextStep {
        let place =
            self.staged().find(|&place| self.runs[place].stage == stage && self.runs[place].current().is_some());
        let Some(place) = place.filter(|_| self.progress == Progress::Sent) else { return NextStep::Fail };
        if let Some(endpoint) = self.next_of(place, now) {
            return NextStep::Retry(endpoint);
        }
        if stage == Stage::Decode || self.parts.handler.1.policy(stage).fallback == Fallback::Fail {
            return NextStep::Fail;
        }
        self.reserved.done(place);
        self.runs[place].retire();
        self.skipped.push(stage);
        if stage == Stage::Prefill && self.reserved.holds(self.primary) {
            self.reserve_again(self.primary, now);
        }
        NextStep::Without
    }

    /// A stage before the decode is done: its reservation is released.
    pub fn stage_done(&mut self, stage: Stage) {
        let done = self.staged().find(|&place| self.runs[place].stage == stage && stage != Stage::Decode);
        done.into_iter().for_each(|place| self.reserved.done(place));
    }

    /// The places of the runs that send the request somewhere: the one that decides, and those of stages before the decode.
    pub(super) fn staged(&self) -> impl Iterator<Item = usize> + use<'_> {
        let sends = |&place: &usize| place == self.primary || self.runs[place].stage != Stage::Decode;
        (0..self.runs.len()).filter(sends)
    }

    /// Goes on to the next endpoint of a run that may work with those of the others.
    pub(super) fn next_of(&mut self, place: usize, now: Duration) -> Option<Arc<Endpoint>> {
        let handler = &self.parts.handler.1;
        let others: SmallVec<[usize; 2]> =
            self.staged().filter(|&other| other != place).filter_map(|other| self.runs[other].current()).collect();
        let fits = |next: usize| others.iter().all(|&other| handler.pairs(&self.pool[other], &self.pool[next]));
        let run = &self.runs[place];
        let skip = run.ranked().skip(run.tried + 1).position(fits)?;
        self.runs[place].tried += skip + 1;
        self.reserve_again(place, now);
        self.tell_picked(place, now);
        self.runs[place].current().map(|next| Arc::clone(&self.pool[next]))
    }

    fn reserve_again(&mut self, place: usize, now: Duration) {
        let Self { parts, runs, pool, attributes, reserved, .. } = self;
        reserved.again(&parts.in_flight, runs, place, pool, attributes, now);
    }

    fn stage_route(&self, place: usize) -> Option<StageRoute<'_>> {
        let run = &self.runs[place];
        let current = run.current()?;
        let endpoint = &self.pool[current];
        Some(StageRoute {
            stage: run.stage,
            profile: &self.parts.names[run.profile],
            endpoint,
            rank: endpoint.rank(),
            ranked: run.ranked().map(|place| &self.pool[place]).collect(),
            predicted_hit_tokens: self.attributes.hit_tokens(current) as usize,
            deadline: self.parts.handler.1.policy(run.stage).deadline,
        })
    }
}
