//! What a scheduler is made of, and the steps of a decision.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

use super::origin::Origin;
use crate::plugin::{Attributes, Candidates, Context, Data, Hooks, Plugin, Producer, ProfileHandler, Ran};
use crate::producer::{InFlightLoad, Reservation};
use crate::profile::{Profile, Run};
use crate::{EngineMetrics, Needs, Pool, Request};

/// What a scheduler is made of. Its decisions keep it, to explain themselves.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) profiles: Vec<Profile>,
    pub(super) names: Vec<String>,
    pub(super) handler: (String, Arc<dyn ProfileHandler>),
    pub(super) producers: Vec<(String, Arc<dyn Producer>)>,
    pub(super) in_flight: InFlightLoad,
    /// Each plugin once, whatever the number of profiles that it stands in.
    pub(super) plugins: Vec<(String, Arc<dyn Plugin>)>,
    /// The producer that says how many tokens of a prompt an endpoint need not compute.
    pub(super) prefix: Option<Arc<str>>,
    pub(super) needs: Needs,
    /// Producers that do not run, since nobody reads what they make.
    pub(super) idle: Vec<String>,
    pub(super) added: Vec<String>,
    pub(super) origin: Origin,
}

pub(super) type Metrics = SmallVec<[Option<Arc<EngineMetrics>>; 16]>;
pub(super) type Runs = SmallVec<[Run; 1]>;
pub(super) type Followers = SmallVec<[Box<dyn Hooks>; 2]>;

impl Parts {
    pub(super) fn new(
        profiles: Vec<Profile>,
        handler: (String, Arc<dyn ProfileHandler>),
        producers: Vec<(String, Arc<dyn Producer>)>,
        in_flight: InFlightLoad,
    ) -> Result<Self> {
        if profiles.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a scheduler has at least one profile"));
        }
        let names: Vec<_> = profiles.iter().map(|profile| profile.name().to_owned()).collect();
        if let Some(twice) = first_twice(&names) {
            return Err(Error::new(ErrorKind::Invalid, format!("two profiles are called {twice}")));
        }
        let plugins = each_once(&profiles, &handler, &[]);
        let reads = reads(&plugins);
        let prefix = prefix_source(&reads, &in_flight, &producers)?;
        let (producers, idle): (Vec<_>, Vec<_>) = producers.into_iter().partition(|(name, producer)| {
            let made = producer.makes();
            prefix.as_deref() == Some(name) || reads.iter().any(|(_, data)| *data == made)
        });
        let plugins = each_once(&profiles, &handler, &producers);
        let mut needs = Needs::default();
        plugins.iter().flat_map(|(_, plugin)| plugin.reads()).for_each(|data| data.add_to(&mut needs));
        let idle = idle.into_iter().map(|(name, _)| name).collect();
        let (added, origin) = (Vec::new(), Origin::default());
        Ok(Self { profiles, names, handler, producers, in_flight, plugins, prefix, needs, idle, added, origin })
    }

    /// Asks every producer, and says what they want to be told later.
    pub(super) fn produce(&self, request: &Request, pool: &Pool, now: Duration) -> (Attributes, Followers) {
        let mut attributes = Attributes::new(request.prompt_tokens(), self.prefix.clone());
        let producers = self.producers.iter();
        let hooks =
            producers.filter_map(|(_, producer)| producer.produce(request, pool, now, &mut attributes)).collect();
        (attributes, hooks)
    }

    /// What each endpoint last said about itself, when somebody reads it.
    pub(super) fn metrics(&self, pool: &Pool) -> Metrics {
        if self.needs.metrics { pool.iter().map(|endpoint| endpoint.metrics()).collect() } else { Metrics::new() }
    }

    /// Runs profiles until the handler has enough, and says which of the runs decides.
    pub(super) fn run(
        &self,
        cx: &mut Context<'_>,
        pool: &Pool,
        metrics: &[Option<Arc<EngineMetrics>>],
    ) -> Result<(Runs, usize)> {
        let mut runs = Runs::new();
        let mut ran = SmallVec::<[Ran; 1]>::new();
        let (handler_name, handler) = &self.handler;
        while let Some(place) = handler.next(cx.request, &self.names, &ran) {
            let Some(profile) = self.profiles.get(place).filter(|_| ran.iter().all(|ran| ran.profile != place)) else {
                let message =
                    format!("profile handler {handler_name} asks for profile {place}, which ran or is not there");
                return Err(Error::new(ErrorKind::Internal, message));
            };
            let run = profile.run(cx, place, Candidates::new(pool, metrics))?;
            ran.push(Ran::new(place, run.first().map(|place| Arc::clone(&pool[place]))));
            runs.push(run);
        }
        if runs.is_empty() {
            return Err(Error::new(ErrorKind::Internal, format!("profile handler {handler_name} runs no profile")));
        }
        let primary = handler.primary(&ran).min(runs.len() - 1);
        if runs[primary].first().is_none() {
            return Err(self.drained(&runs[primary], pool.len()));
        }
        Ok((runs, primary))
    }

    /// Counts the request in wherever a profile sends it.
    pub(super) fn reserve(
        &self,
        request: &Request,
        pool: &Pool,
        attributes: &Attributes,
        runs: &[Run],
    ) -> SmallVec<[Option<Reservation>; 1]> {
        let reserve = |place| self.in_flight.reserve(&pool[place], attributes, place, request.max_output_tokens);
        runs.iter().map(|run| run.first().map(reserve)).collect()
    }

    fn drained(&self, run: &Run, endpoints: usize) -> Error {
        let profile = &self.profiles[run.profile];
        let last = run.dropped.last().map_or(0, |dropped| usize::from(dropped.filter));
        let filter = profile.filters().nth(last).unwrap_or("no filter");
        let message = format!("filter {filter} of profile {} leaves none of {endpoints} endpoints", profile.name());
        Error::new(ErrorKind::Exhausted, message)
    }
}

fn first_twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)).map(|(_, name)| name)
}

/// What each plugin reads.
fn reads(plugins: &[(String, Arc<dyn Plugin>)]) -> Vec<(String, Data)> {
    let each = plugins.iter().map(|(name, plugin)| (name, plugin.reads()));
    each.flat_map(|(name, data)| data.into_iter().map(move |data| (name.clone(), data))).collect()
}

/// The producer that says how much of a prompt is cached: the one that the load in flight names; else the first that a
/// plugin reads; else, when tokens in flight are read, the first there is. All that are read must be there.
fn prefix_source(
    reads: &[(String, Data)],
    in_flight: &InFlightLoad,
    producers: &[(String, Arc<dyn Producer>)],
) -> Result<Option<Arc<str>>> {
    let named = in_flight.prefix_producer.iter().map(|name| ("the load in flight", name));
    let read = reads.iter().filter_map(|(reader, data)| match data {
        Data::PrefixMatch(name) => Some((reader.as_str(), name)),
        _ => None,
    });
    let found: Vec<_> = named.chain(read).map(|(reader, name)| find(producers, reader, name)).collect::<Result<_>>()?;
    let tokens = reads.iter().any(|(_, data)| *data == Data::InFlightTokens);
    let mut makers = producers.iter().filter(|(_, producer)| matches!(producer.makes(), Data::PrefixMatch(_)));
    let first = makers.next().filter(|_| tokens).map(|(name, _)| name.as_str().into());
    Ok(found.into_iter().next().or(first))
}

/// The producer of this name, which `reader` reads from.
fn find(producers: &[(String, Arc<dyn Producer>)], reader: &str, name: &str) -> Result<Arc<str>> {
    if producers.iter().any(|(known, _)| known == name) {
        return Ok(name.into());
    }
    let known: Vec<_> = producers.iter().map(|(known, _)| known.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("{reader} reads prefix matches of producer {name}, which is not there; producers: {known}");
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Every plugin, producers first, each once.
fn each_once(
    profiles: &[Profile],
    handler: &(String, Arc<dyn ProfileHandler>),
    producers: &[(String, Arc<dyn Producer>)],
) -> Vec<(String, Arc<dyn Plugin>)> {
    let producers = producers.iter().map(|(name, producer)| (name.as_str(), Arc::clone(producer) as Arc<dyn Plugin>));
    let handler = (handler.0.as_str(), Arc::clone(&handler.1) as Arc<dyn Plugin>);
    let mut all: Vec<(String, Arc<dyn Plugin>)> = Vec::new();
    for (name, plugin) in producers.chain([handler]).chain(profiles.iter().flat_map(Profile::plugins)) {
        if !all.iter().any(|(_, known)| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(&plugin))) {
            all.push((name.to_owned(), plugin));
        }
    }
    all
}
