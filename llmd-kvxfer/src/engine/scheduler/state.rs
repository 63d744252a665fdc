//! What a scheduler knows, and what it says to whom.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

use super::fit::{Fits, Layouts};
use super::invalid;
use super::known::{Known, Request, Stage, Told};
use super::link::{Link, Pass};
use super::settings::SchedulerSettings;
use super::stats::SchedulerStats;
use crate::engine::clock::Clock;
use crate::engine::line::Line;
use crate::engine::message::{Command, Groups, Here, Notice};
use crate::engine::place::Place;
use crate::engine::stream::Stream;
use crate::engine::wait::{For, wait};
use crate::grant::Grant;
use crate::session::decode::Allocation;
use crate::session::{GrantBytes, Granted, Params, Part, RequestId, Reuse};

/// What a scheduler knows.
#[derive(Debug)]
pub(super) struct State {
    settings: SchedulerSettings,
    decode: crate::session::decode::Settings,
    pass: Pass,
    links: Vec<Link>,
    /// How our workers' caches are laid out.
    layouts: Layouts,
    fits: Fits,
    known: Known,
    asking: Option<Asking>,
    stats: SchedulerStats,
}

/// What the workers were asked, and what they answered.
#[derive(Debug)]
struct Asking {
    number: u64,
    answers: Vec<Option<Answer>>,
}

type Answer = Result<Vec<(GroupIdx, GrantBytes)>, String>;

/// How long it looks again and again for an answer before it sleeps until one is there.
const LOOK: Duration = Duration::from_micros(60);

impl State {
    pub(super) fn new(places: Vec<Place>, key: &[u8], settings: SchedulerSettings) -> Result<Self> {
        Ok(Self {
            decode: settings.decode(),
            settings,
            pass: Pass::new(key)?,
            links: places.into_iter().map(Link::new).collect(),
            layouts: Layouts::new(),
            fits: Fits::default(),
            known: Known::default(),
            asking: None,
            stats: SchedulerStats::default(),
        })
    }

    pub(super) fn computed(
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

    pub(super) fn arrive(&mut self, now: Duration, id: &RequestId, prompt_tokens: u32, text: &str) -> Result<()> {
        self.hear(now);
        if self.known.requests.contains_key(id) {
            return Err(invalid(format!("{id} is known already: expected one that is not")));
        }
        if prompt_tokens == 0 {
            self.stats.malformed += 1;
            return Err(invalid(format!("{id} has a prompt of 0 tokens: expected 1 or more")));
        }
        let params = Params::from_text(text).inspect_err(|_| self.stats.malformed += 1)?;
        let theirs = layouts(&params).inspect_err(|_| self.stats.malformed += 1)?;
        let all = || params.granted().iter().map(|granted| Arc::clone(&granted.grant)).collect::<Vec<_>>();
        let fit = match self.fits.fit(theirs, &self.layouts) {
            Ok(fit) => fit,
            Err(error) => {
                self.stats.unfitting += 1;
                self.release(now, all());
                return Err(error);
            }
        };
        let is_full = self.known.requests.len() >= self.settings.max_requests;
        if is_full || !self.is_connected() {
            let count = if is_full { &mut self.stats.refused } else { &mut self.stats.not_connected };
            *count += 1;
            self.release(now, all());
            return Ok(());
        }
        let mut commands = Vec::new();
        for needed in &fit.needed {
            let params = renumbered(&params, needed)?;
            commands.push(Command::Arrive { id: id.clone(), prompt_tokens, text: params.to_text() });
        }
        commands.iter().enumerate().for_each(|(worker, command)| self.say(now, worker, &command.encode()));
        let is_unneeded = |granted: &&Granted| fit.unneeded.contains(&granted.part.shard);
        self.release(
            now,
            params.granted().iter().filter(is_unneeded).map(|granted| Arc::clone(&granted.grant)).collect(),
        );
        self.stats.arrived += 1;
        let offered = Some(self.decode.end(params.tokens(), prompt_tokens));
        self.known.set(id, Request { stage: Stage::Waiting, offered });
        Ok(())
    }

    pub(super) fn matched(&self, id: &RequestId, local_tokens: u32) -> u32 {
        let waiting = self.known.requests.get(id).filter(|request| matches!(request.stage, Stage::Waiting));
        waiting.and_then(|waiting| waiting.offered).map_or(0, |end| self.decode.matched(end, local_tokens))
    }

    pub(super) fn allocated(
        &mut self,
        now: Duration,
        id: &RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) -> Result<()> {
        self.hear(now);
        let request = self.known.requests.get(id);
        let is_waiting = request.is_some_and(|request| matches!(request.stage, Stage::Waiting));
        if external_tokens == 0 {
            if is_waiting {
                self.withdraw(now, id);
            }
            return Ok(());
        }
        let end = local_tokens.saturating_add(external_tokens);
        if let Some(request) = request {
            if !is_waiting {
                return Err(invalid(format!("{id} is being fetched or lent: expected it to wait")));
            }
            let most = request.offered.unwrap_or_default();
            if end > most {
                return Err(invalid(format!(
                    "{id} with {external_tokens} tokens behind {local_tokens}: expected at most {most} together"
                )));
            }
        }
        Allocation::check(&groups, local_tokens, end)?;
        // One that is not known any more is told of all the same: every worker says that its blocks are not here.
        let offered = request.and_then(|request| request.offered);
        let number = self.known.number();
        let command = Command::Allocated { number, id: id.clone(), local_tokens, external_tokens, groups };
        let command: Arc<[u8]> = command.encode().into();
        let told = Told::new(number, self.links.len());
        let stage = Stage::Loading { told, command: Arc::clone(&command), is_preempted: false, is_waiting: true };
        self.known.set(id, Request { stage, offered });
        self.stats.allocated += 1;
        (0..self.links.len()).for_each(|worker| self.say(now, worker, &command));
        Ok(())
    }

    pub(super) fn abort(&mut self, now: Duration, id: &RequestId) -> Reuse {
        self.hear(now);
        let Some(request) = self.known.requests.get_mut(id) else { return Reuse::Now };
        match &mut request.stage {
            Stage::Waiting => {
                self.stats.aborted += 1;
                self.withdraw(now, id);
                Reuse::Now
            }
            Stage::Lent(told) | Stage::Loading { told, .. } => {
                if !std::mem::replace(&mut told.is_aborted, true) {
                    self.stats.aborted += 1;
                    self.say_to_all(now, &Command::Abort { id: id.clone() });
                }
                Reuse::Later
            }
        }
    }

    pub(super) fn preempted(&mut self, now: Duration, id: &RequestId) -> Reuse {
        self.hear(now);
        match self.known.requests.get_mut(id).map(|request| &mut request.stage) {
            Some(Stage::Loading { is_preempted, .. }) => {
                if !std::mem::replace(is_preempted, true) {
                    self.stats.preempted += 1;
                    self.say_to_all(now, &Command::Preempted { id: id.clone() });
                }
                Reuse::Later
            }
            Some(Stage::Lent(_)) => Reuse::Later,
            Some(Stage::Waiting) | None => Reuse::Now,
        }
    }

    /// What was offered is not wanted.
    fn withdraw(&mut self, now: Duration, id: &RequestId) {
        if self.known.requests.get(id).is_some_and(|request| matches!(request.stage, Stage::Waiting)) {
            self.known.forget(id);
            self.say_to_all(now, &Command::Abort { id: id.clone() });
        }
    }

    /// Nobody here wants these.
    fn release(&mut self, now: Duration, grants: Vec<GrantBytes>) {
        let Some(worker) = self.links.iter().position(|link| link.line.is_some()) else { return };
        if !grants.is_empty() {
            self.say(now, worker, &Command::Release { grants }.encode());
        }
    }

    pub(super) fn stats(&self) -> SchedulerStats {
        let connected = self.links.iter().filter(|link| link.line.is_some()).count();
        SchedulerStats { connected, requests: self.known.requests.len(), ..self.stats.clone() }
    }
}

impl State {
    pub(super) fn workers(&self) -> usize {
        self.links.len()
    }

    pub(super) fn pass(&self, worker: usize) -> (Pass, Place) {
        (self.pass.clone(), self.links[worker].place.clone())
    }

    fn is_connected(&self) -> bool {
        self.links.iter().all(|link| link.line.is_some())
    }

    /// Whether there is one to be connected with.
    pub(super) fn is_any_lost(&self) -> bool {
        !self.is_connected()
    }

    fn say_to_all(&mut self, now: Duration, command: &Command) {
        let bytes = command.encode();
        (0..self.links.len()).for_each(|worker| self.say(now, worker, &bytes));
    }

    fn say(&mut self, now: Duration, worker: usize, bytes: &[u8]) {
        if let Err(error) = self.links[worker].say(bytes) {
            self.lose(now, worker, &error);
        }
    }

    /// Hears whatever workers have said.
    pub(super) fn hear(&mut self, now: Duration) {
        for worker in 0..self.links.len() {
            loop {
                match self.links[worker].hear() {
                    Ok(Some(notice)) => self.heard(worker, notice),
                    Ok(None) => break,
                    Err(error) => {
                        self.stats.malformed_messages += u64::from(error.kind() != ErrorKind::Unavailable);
                        self.lose(now, worker, &error);
                    }
                }
            }
        }
    }

    fn heard(&mut self, worker: usize, notice: Notice) {
        let mut answer = |number: u64, answer: Answer| {
            // One that comes after patience was over is answered to nobody.
            if let Some(asking) = self.asking.as_mut().filter(|asking| asking.number == number) {
                asking.answers[worker] = Some(answer);
            }
        };
        match notice {
            Notice::Ended { number, is_waiting } => self.known.ended(worker, number, is_waiting),
            Notice::Granted { number, grants } => answer(number, Ok(grants)),
            Notice::NotGranted { number, why } => answer(number, Err(why)),
            // Said first, or never.
            Notice::Here(_) | Notice::Refused { .. } => self.stats.malformed_messages += 1,
        }
    }

    /// A connection is lost. Its worker gives up what only waited, and so do the others.
    fn lose(&mut self, now: Duration, worker: usize, error: &Error) {
        if self.links[worker].line.is_none() {
            return;
        }
        self.stats.lost_workers += 1;
        self.stats.last_failure = Some(error.to_string());
        self.links[worker].put_off(now);
        let is_waiting = |request: &Request| matches!(request.stage, Stage::Waiting);
        let requests = self.known.requests.iter().filter(|(_, request)| is_waiting(request));
        for id in requests.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.withdraw(now, &id);
        }
    }

    /// Which are to be connected with now.
    pub(super) fn due(&self, now: Duration) -> Vec<usize> {
        let is_due = |link: &Link| link.line.is_none() && link.retry_at <= now;
        self.links.iter().enumerate().filter(|(_, link)| is_due(link)).map(|(worker, _)| worker).collect()
    }

    /// When the next is.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.links.iter().filter(|link| link.line.is_none()).map(|link| link.retry_at).min()
    }

    /// Takes a connection, or that there is none.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn install(&mut self, now: Duration, worker: usize, connected: Result<(Line, Here)>) -> Result<()> {
        let checked = connected.and_then(|(line, here)| {
            self.check_here(worker, &here)?;
            Ok((line, here))
        });
        let (line, here) = checked.inspect_err(|error| {
            self.stats.failed_attempts += 1;
            self.stats.last_failure = Some(error.to_string());
            self.links[worker].put_off(now);
        })?;
        self.links[worker].connected(line, here);
        self.lay_out();
        self.say_again(now, worker);
        Ok(())
    }

    fn check_here(&self, worker: usize, here: &Here) -> Result<()> {
        let (place, workers) = (&self.links[worker].place, self.links.len());
        if (here.shard as usize, here.shards as usize) != (worker, workers) {
            return Err(invalid(format!(
                "{place} has shard {} of {}, expected {worker} of {workers}",
                here.shard, here.shards
            )));
        }
        let groups = |here: &Here| here.groups.iter().map(|(group, _)| *group).collect::<Vec<_>>();
        let other = self.links.iter().enumerate().filter(|(there, _)| *there != worker);
        let other = other.filter_map(|(_, link)| link.here.as_ref()).find(|other| groups(other) != groups(here));
        match other {
            Some(_) => Err(invalid(format!("{place} has other cache groups than the other workers"))),
            None => Ok(()),
        }
    }

    fn lay_out(&mut self) {
        let Some(all) = self.links.iter().map(|link| link.here.as_ref()).collect::<Option<Vec<_>>>() else { return };
        let mut layouts = Layouts::new();
        for (group, layout) in all.iter().flat_map(|here| &here.groups) {
            layouts.entry(*group).or_default().push(layout.clone());
        }
        if layouts != self.layouts {
            self.layouts = layouts;
            self.fits.clear();
        }
    }

    /// Says what a worker that was away may have missed, and asks what was not heard of it.
    fn say_again(&mut self, now: Duration, worker: usize) {
        let mut commands = Vec::new();
        for (id, request) in &self.known.requests {
            let abort = || Command::Abort { id: id.clone() }.encode();
            match &request.stage {
                Stage::Lent(told) if !told.ended.has(worker) => {
                    commands.extend(told.is_aborted.then(abort));
                    commands.push(Command::Holds { number: told.number }.encode());
                }
                Stage::Loading { told, command, is_preempted, .. } if !told.ended.has(worker) => {
                    commands.push(command.to_vec());
                    commands.extend(is_preempted.then(|| Command::Preempted { id: id.clone() }.encode()));
                    commands.extend(told.is_aborted.then(abort));
                }
                Stage::Lent(_) | Stage::Loading { .. } | Stage::Waiting => {}
            }
        }
        commands.iter().for_each(|command| self.say(now, worker, command));
    }

    /// Looks whether connections have ended that nobody hears of meanwhile, and sends what could not be.
    pub(super) fn hear_of_ends(&mut self, now: Duration) {
        self.hear(now);
    }

    /// The connections, for one who waits for an answer.
    fn connections(&self) -> Vec<(Arc<Stream>, For)> {
        self.watched(For::Reading)
    }

    /// The connections, for one who waits for their ends.
    pub(super) fn streams(&self) -> Vec<(Arc<Stream>, For)> {
        self.watched(For::TheEnd)
    }

    fn watched(&self, what: For) -> Vec<(Arc<Stream>, For)> {
        let lines = self.links.iter().filter_map(|link| link.line.as_ref());
        let what = |line: &Line| if line.is_unsent() { For::ReadingAndWriting } else { what };
        lines.map(|line| (Arc::clone(line.stream()), what(line))).collect()
    }
}

/// How what is offered is laid out, shard by shard.
fn layouts(params: &Params) -> Result<Layouts> {
    let mut layouts = Layouts::new();
    for Granted { part, grant, .. } in params.granted() {
        let grant = Grant::from_bytes(grant).map_err(|error| invalid(format!("{part}: {error}")))?;
        layouts.entry(part.group).or_default().push(grant.layout().clone());
    }
    Ok(layouts)
}

/// The offer of these shards alone, numbered from 0.
fn renumbered(params: &Params, shards: &[u32]) -> Result<Params> {
    let granted = params.granted().iter().filter_map(|granted| {
        let shard = shards.iter().position(|shard| *shard == granted.part.shard)? as u32;
        Some(Granted { part: Part { shard, ..granted.part }, ..granted.clone() })
    });
    Params::new(params.tokens(), params.ttl(), granted.collect())
}
