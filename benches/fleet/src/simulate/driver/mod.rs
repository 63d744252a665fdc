//! The run: events in the order of their time, from the first request to the last answer.

mod fleet;
mod outcome;
mod router;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::{Decision, Usage};

pub use fleet::{Death, Fleet, Pulls};
pub use outcome::{Outcome, PhaseOutcome, Served, Worst};
use router::{Load as Said, Routers};

use super::engine::{Engine, Job, StepReport};
use super::load::{Client, Load, Turn};
use crate::splitmix::SplitMix64;

/// From when the index sees that it misses something until it is replayed.
const REPLAY_AFTER: Duration = Duration::from_millis(20);

/// Something that happens at a time. What happens at one time happens in the order in which it was planned.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    /// A client sends its next request.
    Arrive { client: u32 },
    /// An engine ends, with all that it holds.
    Die { death: u32 },
    /// An engine is there again.
    Return { engine: u32 },
    /// Engines replay the events that the index misses.
    Replay { engine: u32 },
    /// The routers read metrics.
    Scrape,
    /// A step of an engine ends; of this life of the engine.
    StepEnd { engine: u32, life: u32 },
    /// The front end of an idle engine hands over a request.
    Wake { engine: u32, life: u32 },
}

/// A request that is being answered.
#[derive(Debug)]
struct Live {
    client: u32,
    decision: Decision,
    sent: Duration,
    first_token: Option<Duration>,
    engine: u16,
    again: u16,
    expected: u32,
}

/// A client on its way through its requests.
#[derive(Clone, Copy, Debug)]
struct Progress {
    phase: usize,
    client: usize,
    turn: usize,
    /// How often the request at hand was sent again, and when it was sent first.
    again: u16,
    sent: Option<Duration>,
}

struct Node {
    engine: Engine,
    life: u32,
    is_stepping: bool,
    is_dead: bool,
    said: Said,
}

/// Runs a load on a fleet that is routed as `yaml` says.
#[must_use = "nothing happens before it runs"]
pub struct Run<'a> {
    fleet: &'a Fleet,
    load: &'a Load,
    routers: Routers,
    nodes: Vec<Node>,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    planned: u64,
    draw: SplitMix64,
    live: Vec<Option<Live>>,
    vacant: Vec<usize>,
    clients: Vec<Progress>,
    /// Clients of the phase that have not begun, where only so many ask at once.
    queue: VecDeque<u32>,
    /// Clients of the phase that are not done.
    left: usize,
    first_sent: Option<Duration>,
    report: StepReport,
    outcome: Outcome,
    explains: bool,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("now", &self.now).field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'a> Run<'a> {
    /// A run of `load` on `fleet`, routed as `yaml` says; the same for the same seed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the configuration cannot be used.
    pub fn new(fleet: &'a Fleet, load: &'a Load, yaml: &str, seed: u64) -> Result<Self> {
        let routers = Routers::new(fleet, yaml, seed)?;
        let heard = routers.needs().events;
        let node = |machine: &super::engine::Machine| Node {
            engine: Engine::new(machine.clone(), heard),
            life: 0,
            is_stepping: false,
            is_dead: false,
            said: Said::default(),
        };
        Ok(Self {
            nodes: fleet.machines.iter().map(node).collect(),
            fleet,
            load,
            routers,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            planned: 0,
            draw: SplitMix64::new(seed ^ 0x10_57),
            live: Vec::new(),
            vacant: Vec::new(),
            clients: Vec::new(),
            queue: VecDeque::new(),
            left: 0,
            first_sent: None,
            report: StepReport::default(),
            outcome: Outcome::default(),
            explains: false,
        })
    }

    /// The same, which can say afterwards why the request that waited longest went where it went.
    pub fn explaining(self) -> Self {
        Self { explains: true, ..self }
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when requests are left that nobody will answer; as [`Scheduler::decide`] otherwise.
    ///
    /// [`Scheduler::decide`]: llmd_routing::Scheduler::decide
    pub fn run(mut self) -> Result<Outcome> {
        self.nodes.iter_mut().for_each(|node| node.said = said(&node.engine));
        self.plan(Duration::ZERO, Event::Scrape);
        for (death, at) in self.fleet.deaths.iter().map(|death| death.at).enumerate() {
            self.plan(at, Event::Die { death: death as u32 });
        }
        for phase in 0..self.load.phases.len() {
            self.begin_phase(phase);
            while self.left > 0 {
                let Some(Reverse((at, _, event))) = self.events.pop() else {
                    let message = format!("{} clients of phase {phase} wait for ever", self.left);
                    return Err(Error::new(ErrorKind::Internal, message));
                };
                self.now = at;
                self.happen(event)?;
            }
            if let (Some(first), Some(phase)) = (self.first_sent.take(), self.outcome.phases.last_mut()) {
                phase.took = self.now - first;
            }
            self.now += self.load.pause;
        }
        Ok(self.outcome)
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    fn begin_phase(&mut self, place: usize) {
        let phase = &self.load.phases[place];
        let requests = phase.clients.iter().map(|client| client.turns.len()).sum();
        let served = Vec::with_capacity(requests);
        let (rate, counts) = (phase.rate, phase.counts);
        self.outcome.phases.push(PhaseOutcome { rate, counts, took: Duration::ZERO, served });
        let first = self.clients.len() as u32;
        let progress = |client| Progress { phase: place, client, turn: 0, again: 0, sent: None };
        self.clients.extend((0..phase.clients.len()).map(progress));
        self.left = phase.clients.iter().filter(|client| !client.turns.is_empty()).count();
        let asking = (first..).zip(&phase.clients).filter(|(_, client)| !client.turns.is_empty());
        let at_once = phase.at_once.unwrap_or(usize::MAX);
        let now = self.now;
        for (n, (client, Client { at, .. })) in asking.enumerate() {
            if n < at_once {
                self.plan(now + *at, Event::Arrive { client });
            } else {
                self.queue.push_back(client);
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Arrive { client } => self.arrive(client),
            Event::Die { death } => self.die(death as usize),
            Event::Replay { engine } => self.routers.replay(self.now, engine as usize),
            Event::Return { engine } => {
                self.nodes[engine as usize].is_dead = false;
                self.routers.restarted(engine as usize);
                Ok(())
            }
            Event::Scrape => {
                if self.routers.needs().metrics {
                    let alive = self.nodes.iter().map(|node| node.said);
                    self.routers.scrape(self.now, alive);
                    self.plan(self.now + self.fleet.scrape, Event::Scrape);
                }
                Ok(())
            }
            Event::StepEnd { engine, life } => self.end_step(engine as usize, life),
            Event::Wake { engine, life } => {
                let node = &self.nodes[engine as usize];
                if node.life == life && !node.is_stepping {
                    self.begin_step(engine as usize);
                }
                Ok(())
            }
        }
    }

    fn turn(&self, client: u32) -> &'a Turn {
        let Progress { phase, client, turn, .. } = self.clients[client as usize];
        &self.load.phases[phase].clients[client].turns[turn]
    }

    fn arrive(&mut self, client: u32) -> Result<()> {
        let turn = self.turn(client);
        let mut decision = self.routers.decide(self.now, client as usize, turn.prompt.tokens(), turn.output)?;
        let mut engine = self.routers.engine(&decision);
        while self.nodes[engine].is_dead {
            if decision.advance(self.now).is_none() {
                // All are gone: the client tries again.
                drop(decision);
                self.plan(self.now + Duration::from_secs(1), Event::Arrive { client });
                return Ok(());
            }
            engine = self.routers.engine(&decision);
        }
        let progress = &mut self.clients[client as usize];
        let sent = *progress.sent.get_or_insert(self.now);
        self.first_sent.get_or_insert(sent);
        let again = progress.again;
        let tag = self.vacant.pop().unwrap_or_else(|| {
            self.live.push(None);
            self.live.len() - 1
        });
        let job = Job {
            tag,
            prompt: turn.prompt.clone(),
            output: turn.output,
            follows: turn.follows,
            seed: turn.seed,
            pulled: self.pulled(engine, turn),
        };
        if !self.nodes[engine].engine.submit(self.now, job) {
            self.outcome.refused += 1;
            self.vacant.push(tag);
            self.next_turn(client);
            return Ok(());
        }
        let expected = decision.predicted_hit_tokens() as u32;
        let engine_place = engine as u16;
        self.live[tag] =
            Some(Live { client, decision, sent, first_token: None, engine: engine_place, again, expected });
        self.wake(engine);
        Ok(())
    }

    /// How many tokens a request brings along from another engine, and how long that takes.
    fn pulled(&self, engine: usize, turn: &Turn) -> Option<(usize, Duration)> {
        let pulls = self.fleet.pulls.as_ref()?;
        let here = self.nodes[engine].engine.held(&turn.prompt);
        let alive = self.nodes.iter().filter(|node| !node.is_dead);
        let best = alive.map(|node| node.engine.held(&turn.prompt)).max()?;
        let more = best.saturating_sub(here);
        (more >= pulls.min_tokens).then(|| (best, pulls.takes(more)))
    }

    /// An idle engine looks at its requests when the front end has the next one ready.
    fn wake(&mut self, engine: usize) {
        let node = &self.nodes[engine];
        if !node.is_stepping
            && let Some(at) = node.engine.next_arrival()
        {
            let event = Event::Wake { engine: engine as u32, life: node.life };
            self.plan(at.max(self.now), event);
        }
    }

    fn begin_step(&mut self, engine: usize) {
        let node = &mut self.nodes[engine];
        match node.engine.begin_step(self.now) {
            Some(takes) => {
                node.is_stepping = true;
                let event = Event::StepEnd { engine: engine as u32, life: node.life };
                self.plan(self.now + takes, event);
            }
            None => self.wake(engine),
        }
    }

    fn end_step(&mut self, engine: usize, life: u32) -> Result<()> {
        let node = &mut self.nodes[engine];
        if node.life != life {
            return Ok(());
        }
        let mut report = std::mem::take(&mut self.report);
        node.is_stepping = false;
        node.engine.end_step(&mut report);
        node.said = said(&node.engine);
        let events = node.engine.take_events();
        self.outcome.steps += 1;
        self.outcome.preemptions += report.preempted;
        if !events.is_empty() {
            let is_lost = self.fleet.lost_events > 0.0 && self.draw.unit() < self.fleet.lost_events;
            if self.routers.hear(self.now, engine, events, is_lost)? {
                self.plan(self.now + REPLAY_AFTER, Event::Replay { engine: engine as u32 });
            }
        }
        for &tag in &report.first {
            self.first_token(tag);
        }
        for finished in &report.finished {
            self.finish(finished.tag, finished.cached_tokens);
        }
        self.report = report;
        self.begin_step(engine);
        Ok(())
    }

    fn first_token(&mut self, tag: usize) {
        let Some(live) = &mut self.live[tag] else { return };
        live.decision.first_token(self.now);
        live.first_token = Some(self.now);
        let took = self.now - live.sent;
        if self.explains && self.outcome.worst.as_ref().is_none_or(|worst| worst.first_token < took) {
            let why = live.decision.explain().to_string();
            let (sent, client) = (live.sent, live.client);
            let prompt = self.turn(client).prompt.len();
            self.outcome.worst = Some(Worst { first_token: took, sent, prompt, why });
        }
    }

    fn finish(&mut self, tag: usize, cached: usize) {
        let Some(mut live) = self.live[tag].take() else { return };
        self.vacant.push(tag);
        let turn = self.turn(live.client);
        let mut usage = Usage::default();
        usage.prompt_tokens = Some(turn.prompt.len() as u64);
        usage.cached_tokens = Some(cached as u64);
        usage.completion_tokens = Some(turn.output as u64);
        live.decision.end(self.now, &usage);
        let served = Served {
            first_token: live.first_token.unwrap_or(self.now) - live.sent,
            whole: self.now - live.sent,
            prompt: turn.prompt.len() as u32,
            output: turn.output as u32,
            cached: cached as u32,
            expected: live.expected,
            engine: live.engine,
            again: live.again,
        };
        if let Some(phase) = self.outcome.phases.last_mut() {
            phase.served.push(served);
        }
        self.next_turn(live.client);
    }

    /// The client goes on with its next request, or is done.
    fn next_turn(&mut self, client: u32) {
        let progress = &mut self.clients[client as usize];
        progress.turn += 1;
        (progress.again, progress.sent) = (0, None);
        let Progress { phase, client: place, turn, .. } = *progress;
        let phase = &self.load.phases[phase];
        if let Some(next) = phase.clients[place].turns.get(turn) {
            self.plan(self.now + next.after, Event::Arrive { client });
            return;
        }
        self.left -= 1;
        if let Some(next) = self.queue.pop_front() {
            let at = phase.clients[self.clients[next as usize].client].at;
            self.plan(self.now + at, Event::Arrive { client: next });
        }
    }

    /// An engine ends. Its requests are sent again.
    fn die(&mut self, death: usize) -> Result<()> {
        let Death { engine, away, .. } = self.fleet.deaths[death];
        let Some(node) = self.nodes.get_mut(engine) else { return Ok(()) };
        let lost = node.engine.die();
        node.life += 1;
        (node.is_stepping, node.is_dead) = (false, true);
        node.said = said(&node.engine);
        self.plan(self.now + away, Event::Return { engine: engine as u32 });
        for tag in lost {
            let Some(mut live) = self.live[tag].take() else { continue };
            self.vacant.push(tag);
            live.decision.abort();
            self.clients[live.client as usize].again += 1;
            self.plan(self.now, Event::Arrive { client: live.client });
        }
        Ok(())
    }
}

fn said(engine: &Engine) -> Said {
    Said {
        waiting: engine.waiting(),
        running: engine.running(),
        cache_usage: engine.cache_usage(),
        block_size: engine.machine().block_size,
        blocks: engine.machine().blocks() as usize - 1,
    }
}
