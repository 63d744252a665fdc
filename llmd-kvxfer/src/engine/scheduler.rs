//! The scheduler's side: it tells the workers of its engine what is handed over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

use super::link::{Link, Side, check, greeted, greeting, nonce, prove};
use super::message::{Command, Computed, Reply};
use super::shards::Shards;
use super::worker::Layouts;
use crate::session::decode::{self, Allocation, Loading};
use crate::session::{Granted, Params, Part, RequestId};

/// How a scheduler is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SchedulerSettings {
    /// What takes tokens from outside, as [`decode::Settings`] says: how many tokens a block has, how they are taken, and how few are
    /// not worth it.
    pub block_tokens: u32,
    /// How the engine takes tokens from outside.
    pub loading: Loading,
    /// Fewer tokens than these are computed here.
    pub min_tokens: u32,
    /// How long it waits for its workers at most, each time: what is not lent in time was prefilled in vain. Default: 1 s.
    pub patience: Duration,
    /// At most how many requests are remembered that wait to be fetched. Default: 65 536.
    pub max_requests: usize,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        let decode::Settings { block_tokens, loading, min_tokens, .. } = decode::Settings::default();
        Self { block_tokens, loading, min_tokens, patience: Duration::from_secs(1), max_requests: 1 << 16 }
    }
}

/// Where requests and blocks are known: it tells the [workers](super::Worker) of its engine what is handed over.
///
/// All of it is said to all workers, in the order of their ranks. Nothing waits for longer than the settings say, and only
/// [`computed`](Self::computed) waits for an answer. A worker that went away is connected to again when something is said next.
#[derive(Debug)]
pub struct Scheduler {
    settings: SchedulerSettings,
    workers: Vec<Connection>,
    shards: Shards,
    /// Requests that arrived and of which nothing was allocated yet.
    offers: HashMap<RequestId, Offer>,
    next_number: u64,
    stats: SchedulerStats,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    held_tokens: u32,
    prompt_tokens: u32,
}

/// What a scheduler counted since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SchedulerStats {
    /// Requests that were lent.
    pub granted: u64,
    /// How long the engine waited for that, all together.
    pub grants_took: Duration,
    /// Requests that were not, because a worker would not.
    pub not_granted: u64,
    /// Requests that were not, because a worker did not answer in time.
    pub late_grants: u64,
    /// Offers that were taken.
    pub arrived: u64,
    /// Offers that could not be read, or are of caches that are not like ours.
    pub refused_offers: u64,
    /// How often a worker's connection was lost.
    pub lost_workers: u64,
    /// How often one was connected to.
    pub connected_workers: u64,
}

#[derive(Debug)]
struct Connection {
    address: String,
    key: Vec<u8>,
    link: Option<Link>,
    layouts: Layouts,
    /// When it is tried again.
    again: Option<Instant>,
}

/// How long a worker that could not be reached is left alone.
const PAUSE: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Connects to the workers of an engine, each by its address and the key that it was made with, in the order of their ranks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] and [`ErrorKind::Denied`] when one cannot be reached or is none of this engine;
    /// [`ErrorKind::Invalid`] when they are in another order, or none.
    pub fn connect(workers: Vec<(String, Vec<u8>)>, settings: SchedulerSettings) -> Result<Self> {
        if workers.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a scheduler of no workers, expected one or more"));
        }
        if settings.block_tokens == 0 {
            return Err(Error::new(ErrorKind::Invalid, "block_tokens 0, expected 1 or more"));
        }
        let workers = workers.into_iter().map(|(address, key)| Connection {
            address,
            key,
            link: None,
            layouts: Layouts::new(),
            again: None,
        });
        let mut scheduler = Self {
            settings,
            workers: workers.collect(),
            shards: Shards::default(),
            offers: HashMap::new(),
            next_number: 0,
            stats: SchedulerStats::default(),
        };
        scheduler.is_connected(FIRST)?;
        Ok(scheduler)
    }

    /// A request was computed: these blocks hold its first `tokens` tokens, by group, each from the token on at which its first block
    /// begins. Gives what the answer has to say, as [`GRANT`](llmd_core::protocol::GRANT): then the engine keeps the blocks until each
    /// worker has said that they were [sent](super::Done::sent). `None` when it is not lent, and the blocks are the engine's.
    ///
    /// # Errors
    ///
    /// None is lent then: [`ErrorKind::Unavailable`] when a worker cannot be reached.
    pub fn computed(
        &mut self,
        request: &RequestId,
        tokens: u32,
        groups: Vec<(GroupIdx, u32, Vec<u32>)>,
    ) -> Result<Option<String>> {
        self.is_connected(self.settings.patience)?;
        let began = now();
        self.next_number += 1;
        let number = self.next_number;
        let groups = groups.into_iter().map(|(group, from_token, blocks)| Computed { group, from_token, blocks });
        let command = Command::Computed { number, request: request.clone(), tokens, groups: groups.collect() };
        let lent = self.say(&command).and_then(|()| self.granted(number));
        let end = match &lent {
            Ok(Some(_)) => Command::Confirm { request: request.clone() },
            Ok(None) | Err(_) => Command::Revoke { request: request.clone() },
        };
        match lent {
            Ok(Some(params)) => {
                // Without it they would keep what nobody waits for: then it is not lent.
                self.say(&end)?;
                self.stats.granted += 1;
                self.stats.grants_took += now() - began;
                Ok(Some(params))
            }
            other => {
                self.stats.not_granted += 1;
                // Whoever does not hear it gives the request up with the connection.
                let _said = self.say(&end);
                other
            }
        }
    }

    /// What the workers granted under this number, put together.
    fn granted(&mut self, number: u64) -> Result<Option<String>> {
        let mut all = Vec::new();
        let (mut tokens, mut ttl) = (0, Duration::ZERO);
        for worker in 0..self.workers.len() {
            let Some(text) = self.answer(worker, number)? else { return Ok(None) };
            let params = Params::from_text(&text)?;
            (tokens, ttl) = (params.tokens(), params.ttl());
            let granted = params.granted().iter().cloned();
            all.extend(
                granted.map(|granted| Granted { part: Part { shard: worker as u32, ..granted.part }, ..granted }),
            );
        }
        all.sort_by_key(|granted| granted.part);
        Ok(Some(Params::new(tokens, ttl, all)?.to_text()))
    }

    fn answer(&mut self, worker: usize, number: u64) -> Result<Option<String>> {
        loop {
            let Some(link) = &mut self.workers[worker].link else { return Err(self.away(worker)) };
            match link.hear().and_then(|heard| heard.map(|bytes| Reply::decode(&bytes)).transpose()) {
                Ok(Some(Reply::Granted { number: of, granted })) if of == number => return Ok(granted.ok()),
                // What came too late for another.
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.stats.late_grants += 1;
                    return Ok(None);
                }
                Err(error) => {
                    self.lose(worker);
                    return Err(error);
                }
            }
        }
    }

    /// A request arrived whose prompt has so many tokens, with this text as [`GRANT`](llmd_core::protocol::GRANT): its leases are kept
    /// while it waits.
    ///
    /// # Errors
    ///
    /// It is computed here then: [`ErrorKind::Invalid`] and [`ErrorKind::Unsupported`] when the text cannot be read, and when it is of
    /// caches that are not like ours; [`ErrorKind::Exhausted`] when as many wait as may; [`ErrorKind::Unavailable`] when a worker cannot
    /// be reached.
    pub fn arrive(&mut self, request: &RequestId, prompt_tokens: u32, text: &str) -> Result<()> {
        self.is_connected(self.settings.patience)?;
        let most = self.settings.max_requests;
        if self.offers.len() >= most {
            return Err(Error::new(ErrorKind::Exhausted, format!("all {most} requests wait to be fetched")));
        }
        let layouts: Vec<_> = self.workers.iter().map(|worker| worker.layouts.clone()).collect();
        let divided = Params::from_text(text).and_then(|params| {
            let parts = self.shards.divide(&params, &layouts)?;
            Ok((params, parts))
        });
        let (params, parts) = divided.inspect_err(|_| self.stats.refused_offers += 1)?;
        for (worker, part) in parts.into_iter().enumerate() {
            let text = part.to_text();
            self.tell(worker, &Command::Arrive { request: request.clone(), prompt_tokens, text })?;
        }
        self.stats.arrived += 1;
        self.offers.insert(request.clone(), Offer { held_tokens: params.tokens(), prompt_tokens });
        Ok(())
    }

    /// How many tokens can come from outside behind `local_tokens` that are here, as [`Decode::matched`](decode::Decode::matched) says.
    pub fn matched(&self, request: &RequestId, local_tokens: u32) -> u32 {
        let Some(Offer { held_tokens, prompt_tokens }) = self.offers.get(request) else { return 0 };
        let SchedulerSettings { block_tokens, loading, min_tokens, .. } = self.settings;
        let tokens = loading.end(*held_tokens, *prompt_tokens, block_tokens).saturating_sub(local_tokens);
        if tokens < min_tokens { 0 } else { tokens }
    }

    /// The engine allocated blocks for so many tokens from outside: each worker says that they were
    /// [received](super::Done::received). With 0 it wants nothing, and the producer may have its blocks back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a worker cannot be told: then those that were say so all the same.
    pub fn allocated(
        &mut self,
        request: &RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) -> Result<()> {
        let is_known = self.offers.remove(request).is_some();
        if !is_known && external_tokens == 0 {
            return Ok(());
        }
        let request = request.clone();
        self.say(&Command::Allocated { request, local_tokens, external_tokens, groups })
    }

    /// The engine does not want the request any more.
    ///
    /// # Errors
    ///
    /// Those of [`allocated`](Self::allocated).
    pub fn abort(&mut self, request: &RequestId) -> Result<()> {
        self.offers.remove(request);
        self.say(&Command::Abort { request: request.clone() })
    }

    /// The engine takes the blocks of a request back that is being fetched.
    ///
    /// # Errors
    ///
    /// Those of [`allocated`](Self::allocated).
    pub fn preempted(&mut self, request: &RequestId) -> Result<()> {
        self.say(&Command::Preempted { request: request.clone() })
    }

    /// What it counted.
    pub const fn stats(&self) -> SchedulerStats {
        self.stats
    }

    /// Says it to all workers; to those that can be told, when one cannot.
    fn say(&mut self, command: &Command) -> Result<()> {
        let mut said = Ok(());
        for worker in 0..self.workers.len() {
            said = said.and(self.tell(worker, command));
        }
        said
    }

    fn tell(&mut self, worker: usize, command: &Command) -> Result<()> {
        let Some(link) = &mut self.workers[worker].link else { return Err(self.away(worker)) };
        let said = link.say(&command.encode()).and_then(|()| match link.has_output() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Unavailable, "it does not take what it is told")),
        });
        said.inspect_err(|_| self.lose(worker))
    }

    fn away(&self, worker: usize) -> Error {
        let message = format!("worker {worker} at {} cannot be reached", self.workers[worker].address);
        Error::new(ErrorKind::Unavailable, message)
    }

    fn lose(&mut self, worker: usize) {
        if self.workers[worker].link.take().is_some() {
            self.stats.lost_workers += 1;
        }
    }

    /// Connects to those that are away.
    fn is_connected(&mut self, patience: Duration) -> Result<()> {
        for place in 0..self.workers.len() {
            let count = self.workers.len();
            let worker = &mut self.workers[place];
            if worker.link.is_some() {
                continue;
            }
            let now = now();
            if worker.again.is_some_and(|again| now < again) {
                return Err(self.away(place));
            }
            worker.again = Some(now + PAUSE);
            worker.connect(place, count, patience)?;
            worker.link.iter().try_for_each(|link| link.is_patient(self.settings.patience)).map_err(|cause| {
                Error::new(ErrorKind::Unavailable, "a connection cannot be set up").with_source(cause)
            })?;
            self.stats.connected_workers += 1;
        }
        Ok(())
    }
}

/// How long it waits for its workers when it begins.
const FIRST: Duration = Duration::from_secs(10);

impl Connection {
    fn connect(&mut self, place: usize, count: usize, patience: Duration) -> Result<()> {
        let mut link = Link::connect(&self.address, patience)?;
        let late = || Error::new(ErrorKind::Unavailable, format!("a worker did not answer in {patience:?}"));
        let theirs = greeted(&link.hear()?.ok_or_else(late)?)?;
        let ours = nonce()?;
        let mut said = greeting(&ours);
        said.extend_from_slice(&prove(&self.key, Side::Scheduler, &theirs, &ours));
        link.say(&said)?;
        check(&self.key, Side::Worker, &theirs, &ours, &link.hear()?.ok_or_else(late)?)?;
        match Reply::decode(&link.hear()?.ok_or_else(late)?)? {
            Reply::Hello { shard, shards, groups } if (shard as usize, shards as usize) == (place, count) => {
                (self.layouts, self.link, self.again) = (groups, Some(link), None);
                Ok(())
            }
            Reply::Hello { shard, shards, .. } => {
                let message = format!("shard {shard} of {shards} at {}, expected {place} of {count}", self.address);
                Err(Error::new(ErrorKind::Invalid, message))
            }
            Reply::Granted { .. } => Err(Error::new(ErrorKind::Corrupt, "an answer that nobody asked for")),
        }
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "it is a shell, and this is its clock")]
    let now = Instant::now;
    now()
}
