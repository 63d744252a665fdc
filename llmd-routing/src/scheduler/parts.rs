//! What a scheduler is made of, and the steps of a decision.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

use super::components::{Components, Named};
use super::origin::Origin;
use super::reads;
use crate::plugin::{
    Admitter, Attributes, By, Candidates, Context, Data, Dropped, Fallback, HeaderProcessor, Hooks, Plugin, Producer,
    ProfileHandler, Ran, Refusal, Screener, Snapshot, Stage,
};
use crate::producer::InFlightLoad;
use crate::profile::{Profile, Run};
use crate::{Needs, Pool, Request};

/// What a scheduler is made of. Its decisions keep it, to explain themselves.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) profiles: Vec<Profile>,
    pub(super) names: Vec<String>,
    pub(super) handler: Named<dyn ProfileHandler>,
    pub(super) header_processors: Vec<Named<dyn HeaderProcessor>>,
    /// In the order in which they run: each after those that it reads from.
    pub(super) producers: Vec<Named<dyn Producer>>,
    pub(super) screeners: Vec<Named<dyn Screener>>,
    pub(super) admitters: Vec<Named<dyn Admitter>>,
    pub(super) in_flight: InFlightLoad,
    /// Each plugin once, whatever the number of profiles that it stands in.
    pub(super) plugins: Vec<Named<dyn Plugin>>,
    /// The producer that says how many tokens of a prompt an endpoint need not compute.
    pub(super) prefix: Option<Arc<str>>,
    pub(super) needs: Needs,
    /// Whether a plugin reads what is in flight.
    pub(super) reads_loads: bool,
    /// Producers that do not run, since nobody reads what they make.
    pub(super) idle: Vec<String>,
    pub(super) added: Vec<String>,
    pub(super) origin: Origin,
}

pub(super) type Runs = SmallVec<[Run; 1]>;
/// The places that screeners leave, and who was taken out.
pub(super) type Screened = (SmallVec<[u32; 16]>, Vec<Dropped>);
pub(super) type Followers = SmallVec<[Box<dyn Hooks>; 2]>;

/// What the profiles found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) runs: Runs,
    pub(super) primary: usize,
    /// Stages that the endpoint of the next one does as well, since nobody else was left.
    pub(super) skipped: SmallVec<[Stage; 1]>,
}

impl Parts {
    pub(super) fn new(components: Components) -> Result<Self> {
        let Components { profiles, handler, header_processors, screeners, admitters, in_flight, .. } = components;
        if profiles.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a scheduler has at least one profile"));
        }
        let names: Vec<_> = profiles.iter().map(|profile| profile.name().to_owned()).collect();
        if let Some(twice) = first_twice(&names) {
            return Err(Error::new(ErrorKind::Invalid, format!("two profiles are called {twice}")));
        }
        let mut plugins = each_once(&profiles, &handler);
        plugins.extend(components.observers);
        plugins.extend(header_processors.iter().map(|(name, plugin)| (name.clone(), Arc::clone(plugin) as _)));
        plugins.extend(screeners.iter().map(|(name, plugin)| (name.clone(), Arc::clone(plugin) as _)));
        plugins.extend(admitters.iter().map(|(name, plugin)| (name.clone(), Arc::clone(plugin) as _)));
        let producers = reads::in_order(components.producers)?;
        let (producers, idle, prefix) = reads::wanted(&plugins, producers, &in_flight)?;
        let running = producers.iter().map(|(name, plugin)| (name.clone(), Arc::clone(plugin) as Arc<dyn Plugin>));
        let plugins: Vec<_> = running.chain(plugins).collect();
        let mut needs = Needs::default();
        let read: Vec<_> = plugins.iter().flat_map(|(_, plugin)| plugin.reads()).collect();
        read.iter().for_each(|data| data.add_to(&mut needs));
        let reads_loads = read.iter().any(|data| matches!(data, Data::InFlightRequests | Data::InFlightTokens));
        let (added, origin) = (Vec::new(), Origin::default());
        Ok(Self {
            profiles,
            names,
            handler,
            header_processors,
            producers,
            screeners,
            admitters,
            in_flight,
            plugins,
            prefix,
            needs,
            reads_loads,
            idle,
            added,
            origin,
        })
    }

    /// Asks every header processor and every producer, and says what they want to be told later.
    pub(super) fn produce(&self, request: &Request, pool: &Pool, now: Duration) -> (Attributes, Followers) {
        let mut attributes = Attributes::new(request.prompt_tokens(), self.prefix.clone());
        self.header_processors.iter().for_each(|(_, processor)| processor.process(request, now, &mut attributes));
        let producers = self.producers.iter();
        let hooks =
            producers.filter_map(|(_, producer)| producer.produce(request, pool, now, &mut attributes)).collect();
        (attributes, hooks)
    }

    /// Reads of each endpoint what somebody reads, but for what is in flight.
    pub(super) fn snapshot(&self, pool: &Pool) -> Snapshot {
        let mut snapshot = Snapshot::default();
        if self.needs.metrics {
            snapshot.read_metrics(pool);
        }
        if self.reads_loads && !(self.screeners.is_empty() && self.admitters.is_empty()) {
            snapshot.read_loads(pool);
        }
        snapshot
    }

    /// Asks every screener and every admitter. `None` when nobody takes anybody out.
    pub(super) fn screen(&self, cx: &mut Context<'_>, pool: &Pool, snapshot: &Snapshot) -> Result<Option<Screened>> {
        if self.screeners.is_empty() && self.admitters.is_empty() {
            return Ok(None);
        }
        let mut remaining = vec![true; pool.len()];
        let mut screened = Vec::new();
        for (place, (_, screener)) in self.screeners.iter().enumerate() {
            let mut candidates = Candidates::new(pool, snapshot);
            candidates.enter(By::Screener(place as u16));
            screener.screen(cx, &mut candidates);
            let (_, dropped) = candidates.into_parts();
            screened.extend(dropped.into_iter().filter(|it| std::mem::take(&mut remaining[it.place as usize])));
        }
        let places: SmallVec<[u32; 16]> = (0..pool.len() as u32).filter(|&place| remaining[place as usize]).collect();
        if places.is_empty() {
            let names: Vec<_> = self.screeners.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("screeners leave none of {} endpoints: {}", pool.len(), names.join(", "));
            return Err(Refusal::no_endpoints(message).into());
        }
        let candidates = Candidates::among(pool, snapshot, &places);
        self.admitters.iter().try_for_each(|(_, admitter)| admitter.admit(cx, &candidates))?;
        Ok(Some((places, screened)))
    }

    /// Runs profiles until the handler has enough, and says which of the runs decides.
    pub(super) fn run<'a>(
        &self,
        cx: &mut Context<'a>,
        pool: &'a Pool,
        snapshot: &'a Snapshot,
        places: Option<&[u32]>,
    ) -> Result<Found> {
        let mut runs = Runs::new();
        let mut ran = SmallVec::<[Ran; 1]>::new();
        let (handler_name, handler) = &self.handler;
        while let Some(place) = handler.next(cx, &self.names, &ran)? {
            let Some(profile) = self.profiles.get(place).filter(|_| ran.iter().all(|ran| ran.profile != place)) else {
                let message =
                    format!("profile handler {handler_name} asks for profile {place}, which ran or is not there");
                return Err(Error::new(ErrorKind::Internal, message));
            };
            let mut candidates = places
                .map_or_else(|| Candidates::new(pool, snapshot), |places| Candidates::among(pool, snapshot, places));
            candidates.enter(By::Handler);
            if !handler.alone(&self.names, &ran) {
                for peer in cx.peers() {
                    candidates.retain(|candidate| handler.pairs(peer, candidate.endpoint));
                }
            }
            let stage = handler.stage(profile.name());
            cx.set_stage(stage);
            let run = Run { stage, ..profile.run(cx, place, candidates)? };
            let picked = run.current().map(|place| (place, &pool[place]));
            if let Some((_, peer)) = picked {
                cx.add_peer(peer);
            }
            ran.push(Ran::new(place, picked));
            runs.push(run);
        }
        if runs.is_empty() {
            return Err(Error::new(ErrorKind::Internal, format!("profile handler {handler_name} runs no profile")));
        }
        let primary = handler.primary(&ran).min(runs.len() - 1);
        if runs[primary].current().is_none() {
            return Err(self.drained(&runs[primary], pool.len()).into());
        }
        // Whoever decides answers, whatever its profile is for else.
        runs[primary].stage = Stage::Decode;
        if handler.alone(&self.names, &ran) {
            let others = runs.iter_mut().enumerate().filter(|(place, _)| *place != primary);
            others.for_each(|(_, run)| run.retire());
            return Ok(Found { runs, primary, skipped: SmallVec::new() });
        }
        let skipped = self.skipped(&runs, primary, pool.len())?;
        Ok(Found { runs, primary, skipped })
    }

    /// The stages for which nobody was left, where the handler takes that.
    fn skipped(&self, runs: &Runs, primary: usize, endpoints: usize) -> Result<SmallVec<[Stage; 1]>> {
        let mut skipped = SmallVec::new();
        for (place, run) in runs.iter().enumerate() {
            if place == primary || run.stage == Stage::Decode || run.current().is_some() {
                continue;
            }
            match self.handler.1.policy(run.stage).fallback {
                Fallback::Fail => return Err(self.drained(run, endpoints).into()),
                Fallback::NextStage => skipped.push(run.stage),
            }
        }
        Ok(skipped)
    }

    fn drained(&self, run: &Run, endpoints: usize) -> Refusal {
        let profile = &self.profiles[run.profile];
        let by = run.dropped.last().map(|dropped| self.who(run, dropped.by));
        let by = by.unwrap_or_else(|| "no filter".to_owned());
        Refusal::saturated(format!("{by} of profile {} leaves none of {endpoints} endpoints", profile.name()))
    }

    fn who(&self, run: &Run, by: By) -> String {
        let name = self.taken_out_by(run, by);
        match by {
            By::Filter(_) => format!("filter {name}"),
            By::Handler => format!("profile handler {name}"),
            By::Screener(_) => format!("screener {name}"),
        }
    }

    /// The name of who took an endpoint out of a run.
    pub(super) fn taken_out_by(&self, run: &Run, by: By) -> &str {
        match by {
            By::Filter(place) => self.profiles[run.profile].filters().nth(usize::from(place)).unwrap_or_default(),
            By::Handler => &self.handler.0,
            By::Screener(place) => self.screeners.get(usize::from(place)).map_or("", |(name, _)| name.as_str()),
        }
    }
}

fn first_twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)).map(|(_, name)| name)
}

/// The plugins of the handler and of the profiles, each once.
fn each_once(profiles: &[Profile], handler: &Named<dyn ProfileHandler>) -> Vec<Named<dyn Plugin>> {
    let handler = (handler.0.as_str(), Arc::clone(&handler.1) as Arc<dyn Plugin>);
    let mut all: Vec<Named<dyn Plugin>> = Vec::new();
    for (name, plugin) in [handler].into_iter().chain(profiles.iter().flat_map(Profile::plugins)) {
        if !all.iter().any(|(_, known)| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(&plugin))) {
            all.push((name.to_owned(), plugin));
        }
    }
    all
}
