//! An engine: a process with an agent, which lends and fetches as it is told, line by line, and says what it sees.

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{Agent, Event, Pool, Region, Shm, Tcp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::lender::Lender;
use crate::measure;
use crate::message::{Birth, Kind, Measured, Order, Role, Told};
use crate::pools::{NEIGHBOUR, TENANT, memory, register};
use crate::reader::Reader;

/// An engine, from its start to the end of its standard input.
struct Engine {
    birth: Birth,
    chance: Chance,
    memory: Vec<Region>,
    agent: Option<Agent>,
    pools: Vec<Pool>,
    lender: Lender,
    reader: Reader,
    is_lending: bool,
    /// Until when it has no file descriptor left, and how many it may have then.
    exhausted: Option<(Duration, Rlimit)>,
    /// Its time: it stands still while the process does.
    now: Duration,
    told: Vec<Told>,
}

/// How long it sleeps when nothing happens, and how much of its time may pass from one look at the clock to the next.
const TICK: Duration = Duration::from_millis(2);
const LONGEST_TICK: Duration = Duration::from_millis(100);
/// How many orders wait at most.
const ORDERS: usize = 1024;

/// Runs one.
///
/// # Errors
///
/// When it has no agent, or is told what nobody says.
pub(crate) fn run(birth: &str) -> Result<()> {
    // A thread of the agent's that panics must not look like a peer that is slow.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        std::process::abort();
    }));
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| {
        Error::new(ErrorKind::Unavailable, "what ends this process with its parent").with_source(errno)
    })?;
    let birth: Birth = serde_json::from_str(birth).map_err(|cause| unreadable(birth, cause))?;
    let orders = orders()?;
    let clock = Clock::start();
    let memory = memory(birth.slot)?;
    // What every process has that polls and reads.
    let before = measure::process();
    let (agent, pools) = build(&birth, &memory)?;
    let mut engine = Engine {
        chance: Chance::new(birth.seed ^ birth.life << 16),
        lender: Lender::new(birth.life, &pools)?,
        reader: Reader::new(&pools, names(&birth)?),
        birth,
        memory,
        agent: Some(agent),
        pools,
        is_lending: false,
        exhausted: None,
        now: Duration::ZERO,
        told: vec![Told::Up { before }],
    };
    engine.go_on(&clock, &orders)
}

/// The agent, and its pools.
fn build(birth: &Birth, memory: &[Region]) -> Result<(Agent, Vec<Pool>)> {
    let mut builder = Agent::builder(format!("chaos-{}-{}", birth.slot, birth.life)).copy_threads(2);
    builder = match birth.role {
        Role::Peer => builder.tenant(TENANT.0, TENANT.1).serve(NEIGHBOUR.0, NEIGHBOUR.1),
        Role::Neighbour => builder.tenant(NEIGHBOUR.0, NEIGHBOUR.1),
        Role::Stranger => builder.tenant(TENANT.0, b"another key"),
    };
    for transport in &birth.transports {
        builder = match transport.as_str() {
            "shm" => builder.transport(Shm::in_folder(&birth.folder)),
            "tcp" => builder.transport(Tcp::bind((birth.host.as_str(), 0))?),
            other => return Err(unknown(other)),
        };
    }
    let agent = builder.build()?;
    let pools = register(&agent, birth.role, birth.slot, memory)?;
    Ok((agent, pools))
}

/// The transports that an engine may have.
pub(crate) const TRANSPORTS: [&str; 2] = ["shm", "tcp"];

fn names(birth: &Birth) -> Result<Vec<&'static str>> {
    let named = birth.transports.iter();
    named.map(|name| TRANSPORTS.into_iter().find(|there| there == name).ok_or_else(|| unknown(name))).collect()
}

fn unknown(transport: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("transport `{transport}`, expected one of {TRANSPORTS:?}"))
}

fn unreadable(line: &str, cause: serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("`{line}`, expected a line of the conductor's")).with_source(cause)
}

/// The orders, as they come. When there are no more, neither is a reason to go on.
fn orders() -> Result<Receiver<String>> {
    let (sender, receiver) = sync_channel(ORDERS);
    let reader = std::thread::Builder::new().name("orders".into()).spawn(move || {
        for line in stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    reader.map_err(|cause| Error::new(ErrorKind::Exhausted, "a thread that reads orders").with_source(cause))?;
    Ok(receiver)
}

impl Engine {
    fn go_on(&mut self, clock: &Clock, orders: &Receiver<String>) -> Result<()> {
        use std::sync::mpsc::TryRecvError;
        let mut looked = clock.now();
        loop {
            let now = clock.now();
            self.now += (now - looked).min(LONGEST_TICK);
            looked = now;
            for _ in 0..ORDERS {
                match orders.try_recv() {
                    Ok(line) => self.take(serde_json::from_str(&line).map_err(|cause| unreadable(&line, cause))?)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.turn()?;
            if !self.say() {
                return Ok(());
            }
            self.sleep();
        }
    }

    fn take(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Go => self.is_lending = true,
            Order::Calm => self.is_lending = false,
            Order::Fetch { grant, kind, truth } => self.fetch(&grant, kind, truth)?,
            Order::Mesh => {
                if let Some(agent) = self.agent.as_ref().filter(|_| self.birth.role == Role::Peer) {
                    self.lender.grant_mesh(agent, &mut self.told);
                }
            }
            Order::EndMesh => {
                self.reader.end_mesh();
                if let Some(agent) = &self.agent {
                    self.lender.end_mesh(agent);
                }
            }
            Order::Rebuild => self.rebuild()?,
            Order::Exhaust { millis } => self.exhaust(Duration::from_millis(millis)),
            Order::Measure => {
                let measured = self.measure();
                self.told.push(Told::Measured(measured));
            }
            Order::End => {
                self.give_back();
                self.is_lending = false;
                self.lender.end();
                self.reader.end();
                self.pools.clear();
                self.agent = None;
                self.told.push(Told::Left(measure::process()));
            }
        }
        Ok(())
    }

    fn fetch(&mut self, grant: &str, kind: Kind, truth: crate::content::Truth) -> Result<()> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let grant = hex::decode(grant).unwrap_or_default();
        if kind == Kind::Mesh {
            self.reader.fetch_mesh(self.now, &grant, &truth);
            return Ok(());
        }
        if !self.is_lending {
            return Ok(());
        }
        self.reader.fetch(agent, self.now, (&grant, kind, truth), &mut self.chance, &mut self.told)
    }

    fn turn(&mut self) -> Result<()> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let mut events = Vec::new();
        agent.poll(&mut events)?;
        for event in &events {
            match event {
                Event::Fetched(fetched) => self.reader.ended(fetched, self.now, &mut self.told)?,
                Event::LeaseEnded(ended) => self.lender.ended(ended, &mut self.told)?,
                _ => {}
            }
        }
        self.reader.turn(agent, self.now, &mut self.told)?;
        self.lender.release(agent, self.now);
        if self.is_lending && self.birth.role == Role::Peer {
            self.lender.grant(agent, self.now, &mut self.chance, &mut self.told);
        }
        if self.exhausted.as_ref().is_some_and(|(until, _)| *until <= self.now) {
            self.give_back();
        }
        Ok(())
    }

    /// Ends the agent in the middle of everything, and begins again with the same memory.
    fn rebuild(&mut self) -> Result<()> {
        self.pools.clear();
        self.agent = None;
        // While nothing can be opened an agent cannot be built, and says so.
        let mut failures = 0;
        let (agent, pools) = loop {
            match build(&self.birth, &self.memory) {
                Ok(built) => break built,
                Err(error) if self.exhausted.is_none() => return Err(error),
                Err(_) => {
                    failures += 1;
                    self.give_back();
                }
            }
        };
        self.lender.begin_again(&pools)?;
        let operations = self.reader.begin_again(&pools);
        (self.agent, self.pools) = (Some(agent), pools);
        self.told.push(Told::Abandoned { operations });
        self.told.push(Told::Rebuilt { failures });
        Ok(())
    }

    /// Nothing can be opened any more: no socket, no memory, nothing that a peer sends.
    fn exhaust(&mut self, time: Duration) {
        if self.exhausted.is_none() {
            let limit = getrlimit(Resource::Nofile);
            let none = Rlimit { current: Some(3), maximum: limit.maximum };
            if setrlimit(Resource::Nofile, none).is_ok() {
                self.exhausted = Some((self.now + time, limit));
            }
        }
    }

    fn give_back(&mut self) {
        if let Some((_, limit)) = self.exhausted.take() {
            // It was allowed before.
            let _again = setrlimit(Resource::Nofile, limit);
        }
    }

    fn measure(&self) -> Measured {
        let stats = self.agent.as_ref().map(Agent::stats).unwrap_or_default();
        let operations = stats.operations + self.reader.left();
        Measured { leases: stats.leases, operations, ..measure::process() }
    }

    /// Says what there is to say; no when nobody listens.
    fn say(&mut self) -> bool {
        let mut out = stdout().lock();
        let lines = self.told.drain(..).filter_map(|told| serde_json::to_string(&told).ok());
        let said: String = lines.map(|line| line + "\n").collect();
        out.write_all(said.as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    fn sleep(&self) {
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as _ };
        let wake = self.agent.as_ref().map(|agent| PollFd::from_borrowed_fd(agent.wake_fd(), PollFlags::IN));
        // It fails when a signal came, and then it looks.
        let _woken = poll(&mut wake.into_iter().collect::<Vec<_>>(), Some(&tick));
    }
}
