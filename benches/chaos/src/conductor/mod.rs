//! The one that starts engines, passes grants from one to another, breaks what can be broken, and counts what became of it.

mod faults;
mod quiet;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use indicatif::ProgressBar;
use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::Grant;
use rustix::fd::OwnedFd;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::content::Truth;
use crate::forge::forge;
use crate::fuzz::Impostor;
use crate::message::{Birth, Kind, Measured, Order, Role, Told};
use crate::network::address;
use crate::pools::OF_NEIGHBOUR;
use crate::process::{News, Place, Process};
use crate::tally::Tally;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// For how long things break, and until how many operations have ended at least.
    pub(crate) time: Duration,
    pub(crate) transfers: u64,
    pub(crate) folder: PathBuf,
    pub(crate) transports: Vec<String>,
    /// Where each engine runs.
    pub(crate) places: Vec<Place>,
    /// The address of those that are in no network namespace.
    pub(crate) host: String,
}

/// The whole stage.
pub(crate) struct Conductor<'a> {
    plan: &'a Plan,
    clock: Clock,
    chance: Chance,
    slots: Vec<Slot>,
    lives: u64,
    news: Receiver<News>,
    say: SyncSender<News>,
    impostor: Impostor,
    /// Connections that say nothing.
    silent: Vec<OwnedFd>,
    /// Grants that hold, as far as is known, and some that do not.
    recent: VecDeque<Passed>,
    over: Vec<Passed>,
    /// How many of a mesh are still to arrive.
    mesh: usize,
    pub(crate) tally: Tally,
}

/// An engine's place.
#[derive(Debug)]
struct Slot {
    role: Role,
    place: Place,
    process: Option<Process>,
    /// Which life it is in.
    life: u64,
    is_up: bool,
    starts_at: Duration,
    /// Where it is found, by transport.
    addresses: HashMap<String, String>,
    /// What it had before there was an agent, and what it had when all were connected and nothing had happened yet.
    before: Measured,
    connected: Measured,
    measured: Option<Measured>,
    left: Option<Measured>,
}

#[derive(Clone, Debug)]
struct Passed {
    from: usize,
    life: u64,
    lease: (u32, u64),
    grant: Vec<u8>,
    truth: Truth,
}

/// How many peers there are, beside a neighbour and a stranger.
pub(crate) const PEERS: usize = 4;
/// How many grants are remembered.
const REMEMBERED: usize = 512;
/// How much news waits.
const NEWS: usize = 4096;
/// How long one waits for what comes soon.
const MOMENT: Duration = Duration::from_millis(4);
/// How long engines may take to be there.
const START: Duration = Duration::from_secs(30);

impl<'a> Conductor<'a> {
    /// # Errors
    ///
    /// When there is no place to listen at.
    pub(crate) fn new(plan: &'a Plan) -> Result<Self> {
        let (say, news) = sync_channel(NEWS);
        let path = plan.folder.join("impostor.sock");
        let impostor = Impostor::listen(&path).map_err(|cause| {
            Error::new(ErrorKind::Unavailable, format!("{}, expected a place to listen at", path.display()))
                .with_source(cause)
        })?;
        let roles = [Role::Peer; PEERS].into_iter().chain([Role::Neighbour, Role::Stranger]);
        let slot = |(place, role)| Slot {
            role,
            place: plan.places.get(place).cloned().unwrap_or(Place::Here),
            process: None,
            life: 0,
            is_up: false,
            starts_at: Duration::ZERO,
            addresses: HashMap::new(),
            before: Measured::default(),
            connected: Measured::default(),
            measured: None,
            left: None,
        };
        Ok(Self {
            plan,
            clock: Clock::start(),
            chance: Chance::new(plan.seed),
            slots: roles.enumerate().map(slot).collect(),
            lives: 0,
            news,
            say,
            impostor,
            silent: Vec::new(),
            recent: VecDeque::new(),
            over: Vec::new(),
            mesh: 0,
            tally: Tally::default(),
        })
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// When engines cannot be started.
    pub(crate) fn run(&mut self, progress: &ProgressBar) -> Result<()> {
        for slot in 0..self.slots.len() {
            self.start(slot)?;
        }
        self.are_up()?;
        self.connect_all();
        self.remember_connected();

        self.all(&Order::Go);
        self.break_things(progress)?;

        self.calm_down()?;
        self.connect_all();
        self.compare_connected();
        self.end_agents();
        Ok(())
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.clock.now().as_secs_f64()
    }

    fn start(&mut self, place: usize) -> Result<()> {
        self.lives += 1;
        let slot = &mut self.slots[place];
        let host = match &slot.place {
            Place::Network(_) => address(place),
            Place::Apart | Place::Here => self.plan.host.clone(),
        };
        let birth = Birth {
            slot: place,
            life: self.lives,
            role: slot.role,
            seed: self.plan.seed,
            folder: self.plan.folder.display().to_string(),
            transports: self.plan.transports.clone(),
            host,
        };
        (slot.life, slot.is_up) = (self.lives, false);
        slot.process = Some(Process::start(&birth, &slot.place, &self.say)?);
        Ok(())
    }

    /// Waits until every engine is there.
    fn are_up(&mut self) -> Result<()> {
        let until = self.clock.now() + START;
        while !self.slots.iter().all(|slot| slot.is_up) {
            if self.clock.now() > until {
                return Err(Error::new(ErrorKind::Unavailable, format!("engines did not start within {START:?}")));
            }
            self.listen(false);
        }
        Ok(())
    }

    /// Takes what engines say, for a moment; passes grants on if it is told to.
    fn listen(&mut self, is_passing: bool) {
        let Ok(first) = self.news.recv_timeout(MOMENT) else { return };
        self.take(first, is_passing);
        for _ in 0..NEWS {
            let Ok(news) = self.news.try_recv() else { return };
            self.take(news, is_passing);
        }
    }

    fn take(&mut self, (life, told): News, is_passing: bool) {
        let place = self.slots.iter().position(|slot| slot.life == life);
        let Some(told) = told else {
            self.is_gone(place);
            return;
        };
        self.tally.take(life, &told);
        match told {
            Told::Granted { grant, lease, truth, consumers, is_mesh } => {
                let Ok(grant) = hex::decode(grant) else { return };
                let Some(place) = place else { return };
                self.slots[place].learn(&grant);
                let passed = Passed { from: place, life, lease, grant, truth };
                match is_mesh {
                    true => self.pass_mesh(place, &passed),
                    false if is_passing => self.pass(place, consumers, passed),
                    false => {}
                }
            }
            Told::Over { lease } => {
                let passed = self.recent.iter().position(|passed| (passed.life, passed.lease) == (life, lease));
                let Some(passed) = passed.and_then(|passed| self.recent.remove(passed)) else { return };
                if self.over.len() >= REMEMBERED {
                    self.over.swap_remove(self.chance.below(REMEMBERED));
                }
                self.over.push(passed);
            }
            Told::Meshed => self.mesh = self.mesh.saturating_sub(1),
            told => self.note(place, told, is_passing),
        }
    }

    fn note(&mut self, place: Option<usize>, told: Told, is_passing: bool) {
        let Some(slot) = place.map(|place| &mut self.slots[place]) else { return };
        match told {
            Told::Up { before } => {
                slot.before = before;
                slot.is_up = true;
                let place = slot.place.clone();
                if let Some(process) = &mut slot.process {
                    process.is_up(&place);
                    if is_passing {
                        let _lost = process.order(&Order::Go);
                    }
                }
            }
            Told::Measured(measured) => slot.measured = Some(measured),
            Told::Left(measured) => slot.left = Some(measured),
            _ => {}
        }
    }

    /// An engine said its last. Unless we killed it, it should not have.
    fn is_gone(&mut self, place: Option<usize>) {
        let Some(place) = place else { return };
        let Some(mut process) = self.slots[place].process.take() else { return };
        let how = process.ended().unwrap_or_else(|| "it said no more".into());
        self.tally.crashed(place, &how);
        self.slots[place].starts_at = self.clock.now();
    }

    /// Says something to all, each of which has room for it before long.
    fn all(&mut self, order: &Order) {
        let until = self.clock.now() + START;
        let mut left: Vec<_> = (0..self.slots.len()).collect();
        while !left.is_empty() && self.clock.now() < until {
            left.retain(|&place| self.slots[place].process.as_ref().is_some_and(|process| !process.order(order)));
            if !left.is_empty() {
                self.listen(false);
            }
        }
    }

    fn order(&self, place: usize, order: &Order) {
        if let Some(process) = &self.slots[place].process {
            let _lost = process.order(order);
        }
    }

    fn fetch(&mut self, place: usize, kind: Kind, passed: &Passed) {
        let truth = passed.truth.clone();
        let impostor = self.plan.folder.join("impostor.sock").display().to_string();
        let Some(grant) = forge(&passed.grant, kind, &impostor, &mut self.chance) else { return };
        self.tally.forged(kind);
        self.order(place, &Order::Fetch { grant: hex::encode(grant), kind, truth });
    }

    /// Passes a grant on: to whom it is for, and at times to others, or as what it is not.
    fn pass(&mut self, from: usize, consumers: u16, passed: Passed) {
        let (neighbour, stranger) = (PEERS, PEERS + 1);
        let but = |chance: &mut Chance, from: usize| (from + 1 + chance.below(PEERS - 1)) % PEERS;
        let peer = |chance: &mut Chance| but(chance, from);
        let is_neighbours = passed.truth.pool == OF_NEIGHBOUR;
        // The other comes first at times, and at times last.
        let is_forged_first = self.chance.percent(50);
        if self.chance.percent(30) && is_forged_first {
            self.pass_forged(from, &passed);
        }
        for _ in 0..consumers {
            let to = if is_neighbours { neighbour } else { peer(&mut self.chance) };
            self.fetch(to, Kind::Honest, &passed);
        }
        if self.chance.percent(30) && !is_forged_first {
            self.pass_forged(from, &passed);
        }
        if self.chance.percent(4) {
            self.fetch(stranger, Kind::WrongKey, &passed);
        }
        if self.chance.percent(4) {
            let to = if is_neighbours { peer(&mut self.chance) } else { neighbour };
            self.fetch(to, Kind::WrongTenant, &passed);
        }
        if self.chance.percent(4)
            && let Some(over) = self.chance.pick(&self.over).cloned()
        {
            let to = if over.truth.pool == OF_NEIGHBOUR { neighbour } else { but(&mut self.chance, over.from) };
            self.fetch(to, Kind::Replayed, &over);
        }
        self.recent.push_back(passed);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    fn pass_forged(&mut self, from: usize, passed: &Passed) {
        let kinds = [
            Kind::Address,
            Kind::Beyond,
            Kind::Blocks,
            Kind::Capability,
            Kind::Cut,
            Kind::Flipped,
            Kind::Flipped,
            Kind::Lease,
            Kind::Pool,
        ];
        let kind = kinds[self.chance.below(kinds.len())];
        let is_neighbours = passed.truth.pool == OF_NEIGHBOUR;
        let to = if is_neighbours { PEERS } else { (from + 1 + self.chance.below(PEERS - 1)) % PEERS };
        self.fetch(to, kind, passed);
    }

    fn pass_mesh(&mut self, from: usize, passed: &Passed) {
        let to: Vec<_> = match passed.truth.pool {
            OF_NEIGHBOUR => vec![PEERS],
            _ => (0..PEERS).filter(|&to| to != from).collect(),
        };
        for place in to {
            self.fetch(place, Kind::Mesh, passed);
        }
    }
}

impl Slot {
    fn learn(&mut self, grant: &[u8]) {
        let Ok(grant) = Grant::from_bytes(grant) else { return };
        self.addresses = grant.addresses().iter().map(|at| (at.transport.clone(), at.place.clone())).collect();
    }
}
