//! The side that lends: it grants blocks, takes some back while they are read, and writes them anew as soon as it is told that they
//! are free.

use std::collections::HashMap;
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Agent, Lease, LeaseEnded, LeaseId, Pool};

use crate::chance::Chance;
use crate::content::{Truth, fill, seed};
use crate::message::Told;
use crate::pools::LENDING;

/// What an engine lends.
#[derive(Debug)]
pub(crate) struct Lender {
    life: u64,
    stocks: Vec<Stock>,
    /// Leases that are taken back at some time.
    to_release: Vec<(Duration, LeaseId)>,
    for_mesh: Vec<LeaseId>,
    held: HashMap<LeaseId, usize>,
}

#[derive(Debug)]
struct Stock {
    pool: Pool,
    free: Vec<u32>,
    /// How often each block was written before.
    versions: Vec<u32>,
}

/// How many leases are granted at once.
const MOST: usize = 192;
/// No lease holds longer than this, whatever consumers say.
const LONGEST: Duration = Duration::from_secs(4);
/// For so long one of a mesh does.
const MESH: Duration = Duration::from_secs(60);

impl Lender {
    /// Fills all that it lends.
    ///
    /// # Errors
    ///
    /// None that a pool of the right size has.
    pub(crate) fn new(life: u64, pools: &[Pool]) -> Result<Self> {
        let mut stocks = Vec::new();
        for pool in &pools[..LENDING] {
            let blocks = pool.layout().shape().blocks;
            stocks.push(Stock { pool: pool.clone(), free: (0..blocks).collect(), versions: vec![0; blocks as usize] });
        }
        let lender = Self { life, stocks, to_release: Vec::new(), for_mesh: Vec::new(), held: HashMap::new() };
        lender.write_all()?;
        Ok(lender)
    }

    /// Goes on with the same memory, registered anew: nothing is lent any more, and all is written anew.
    ///
    /// # Errors
    ///
    /// None that a pool of the right size has.
    pub(crate) fn begin_again(&mut self, pools: &[Pool]) -> Result<()> {
        for (stock, pool) in self.stocks.iter_mut().zip(pools) {
            stock.pool = pool.clone();
            stock.free = (0..pool.layout().shape().blocks).collect();
            stock.versions.iter_mut().for_each(|version| *version += 1);
        }
        self.to_release.clear();
        self.for_mesh.clear();
        self.held.clear();
        self.write_all()
    }

    /// Lets go of the pools.
    pub(crate) fn end(&mut self) {
        self.stocks.clear();
    }

    fn write_all(&self) -> Result<()> {
        for (place, stock) in self.stocks.iter().enumerate() {
            for (block, &version) in (0..).zip(&stock.versions) {
                fill(&stock.pool, block, seed(self.life, place, (block, version)))?;
            }
        }
        Ok(())
    }

    /// Grants something, if it may be.
    pub(crate) fn grant(&mut self, agent: &Agent, now: Duration, chance: &mut Chance, told: &mut Vec<Told>) {
        if self.held.len() >= MOST {
            return;
        }
        let place = [0, 0, 0, 1, 1, 1, 1, 2][chance.below(8)];
        let stock = &mut self.stocks[place];
        let most = if chance.percent(20) { 32 } else { 8 };
        let count = (1 + chance.below(most)).min(stock.free.len());
        if count == 0 {
            return;
        }
        let ttl = match chance.below(4) {
            0 => chance.millis(1, 40),
            1 => chance.millis(40, 300),
            _ => chance.millis(300, 1500),
        };
        let consumers = if chance.percent(20) { 2 } else { 1 };
        let terms = Lease::new(ttl).consumers(consumers).at_most(LONGEST);
        let blocks: Vec<_> = (0..count).map(|_| stock.free.swap_remove(chance.below(stock.free.len()))).collect();
        let Some(lease) = self.lend(agent, place, blocks, terms, consumers, false, told) else { return };
        if chance.percent(25) {
            self.to_release.push((now + chance.millis(0, 30), lease));
        }
    }

    /// Grants one block of every pool, to be fetched by all.
    pub(crate) fn grant_mesh(&mut self, agent: &Agent, told: &mut Vec<Told>) {
        for place in 0..self.stocks.len() {
            let Some(block) = self.stocks[place].free.pop() else { continue };
            let terms = Lease::new(MESH).consumers(u16::MAX);
            let lease = self.lend(agent, place, vec![block], terms, u16::MAX, true, told);
            self.for_mesh.extend(lease);
        }
    }

    pub(crate) fn end_mesh(&mut self, agent: &Agent) {
        for lease in self.for_mesh.drain(..) {
            // One that is not ours any more has ended.
            let _held = agent.release(lease);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a grant has these, and is made at two places")]
    fn lend(
        &mut self,
        agent: &Agent,
        place: usize,
        blocks: Vec<u32>,
        terms: Lease,
        consumers: u16,
        is_mesh: bool,
        told: &mut Vec<Told>,
    ) -> Option<LeaseId> {
        let stock = &mut self.stocks[place];
        let Ok(grant) = agent.grant(&stock.pool, &blocks, terms) else {
            stock.free.extend(blocks);
            return None;
        };
        let lease = grant.lease();
        let blocks = blocks.into_iter().map(|block| (block, stock.versions[block as usize])).collect();
        let truth = Truth { life: self.life, pool: place, blocks };
        self.held.insert(lease, place);
        let grant = hex::encode(grant.to_bytes());
        told.push(Told::Granted { grant, lease: (lease.slot, lease.generation), truth, consumers, is_mesh });
        Some(lease)
    }

    /// Takes back what is to be taken back by now.
    pub(crate) fn release(&mut self, agent: &Agent, now: Duration) {
        self.to_release.retain(|&(at, lease)| {
            if at <= now {
                // One that has ended already is not held.
                let _held = agent.release(lease);
            }
            at > now
        });
    }

    /// A lease ended: what is free is written anew at once.
    ///
    /// # Errors
    ///
    /// None that a pool of the right size has.
    pub(crate) fn ended(&mut self, ended: &LeaseEnded, told: &mut Vec<Told>) -> Result<()> {
        let Some(place) = self.held.remove(&ended.lease) else { return Ok(()) };
        let stock = &mut self.stocks[place];
        for &block in &ended.free {
            let version = &mut stock.versions[block as usize];
            *version += 1;
            fill(&stock.pool, block, seed(self.life, place, (block, *version)))?;
            stock.free.push(block);
        }
        told.push(Told::Over { lease: (ended.lease.slot, ended.lease.generation) });
        Ok(())
    }
}
