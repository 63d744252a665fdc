//! The side that fetches: into blocks full of something known, so that every byte that comes is seen, and every one that comes too late.

use std::collections::HashMap;
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Agent, Fetch, Fetched, Grant, OpId, Outcome, Pool};

use crate::chance::Chance;
use crate::content::{SOURCE_TOKENS, Truth, fill, look};
use crate::message::{Ended, Kind, Told};
use crate::pools::{LENDING, fits};

/// What an engine fetches.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    caches: Vec<Cache>,
    operations: HashMap<OpId, Operation>,
    to_cancel: Vec<(Duration, OpId)>,
    /// Blocks of operations that failed: nothing may be written to them any more.
    watched: Vec<Watched>,
    /// What is to be fetched until it comes.
    mesh: Vec<(Duration, Wanted)>,
    transports: Vec<&'static str>,
}

#[derive(Debug)]
struct Cache {
    /// Its place among the engine's pools.
    place: usize,
    pool: Pool,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Operation {
    kind: Kind,
    truth: Truth,
    cache: usize,
    blocks: Vec<u32>,
    deadline: Duration,
    mesh: Option<Wanted>,
    is_told: bool,
}

#[derive(Debug)]
struct Watched {
    until: Duration,
    cache: usize,
    blocks: Vec<u32>,
    kind: Kind,
}

/// One of a mesh.
#[derive(Clone, Debug)]
struct Wanted {
    grant: Grant,
    truth: Truth,
    by: &'static str,
}

/// What every block holds that something is fetched into.
const POISON: u64 = 0x5eed_0f90_1504;
/// How long after its deadline an operation may end.
const LATEST: Duration = Duration::from_secs(5);
/// How many operations are begun at once.
const MOST: usize = 64;

impl Reader {
    pub(crate) fn new(pools: &[Pool], transports: Vec<&'static str>) -> Self {
        let mut reader = Self { transports, ..Self::default() };
        reader.begin_again(pools);
        reader
    }

    /// Goes on with the same memory, registered anew. Says how many operations were given up.
    pub(crate) fn begin_again(&mut self, pools: &[Pool]) -> usize {
        let given_up = self.operations.len();
        let caches = pools.iter().enumerate().skip(LENDING);
        self.caches = caches
            .map(|(place, pool)| Cache { place, pool: pool.clone(), free: (0..pool.layout().shape().blocks).collect() })
            .collect();
        self.operations.clear();
        self.to_cancel.clear();
        self.watched.clear();
        given_up
    }

    /// Lets go of the pools.
    pub(crate) fn end(&mut self) {
        self.caches.clear();
        self.watched.clear();
    }

    /// How many operations have not ended, and how many are still to begin.
    pub(crate) fn left(&self) -> usize {
        self.operations.len() + self.mesh.len()
    }

    /// Begins to fetch what was granted, or what somebody made of it.
    pub(crate) fn fetch(
        &mut self,
        agent: &Agent,
        now: Duration,
        (grant, kind, truth): (&[u8], Kind, Truth),
        chance: &mut Chance,
        told: &mut Vec<Told>,
    ) -> Result<()> {
        let mut refused = |why: String| told.push(Told::Refused { kind, why });
        if self.operations.len() >= MOST {
            refused("busy".into());
            return Ok(());
        }
        let grant = match Grant::from_bytes(grant) {
            Ok(grant) => grant,
            Err(error) => {
                refused(format!("bytes: {:?}", error.kind()));
                return Ok(());
            }
        };
        let (grant, truth) = if kind == Kind::Honest { part(&grant, truth, chance)? } else { (grant, truth) };
        let within = if chance.percent(15) { chance.millis(0, 20) } else { chance.millis(300, 4000) };
        let fitting: Vec<_> = (0..self.caches.len()).filter(|&at| fits(truth.pool, self.caches[at].place)).collect();
        let Some(&cache) = chance.pick(&fitting) else { return Ok(()) };
        let only = [self.transports[chance.below(self.transports.len())]];
        let is_by_one = chance.percent(60);
        let (priority, is_held) = (chance.below(4) as u8, chance.percent(10));
        let begun = self.begin(now, (&grant, kind, truth, cache), |fetch| {
            let fetch = fetch.within(within).with_priority(priority);
            let fetch = if is_held { fetch.and_hold() } else { fetch };
            agent.submit(&if is_by_one { fetch.only(&only) } else { fetch }).map(|op| (op, now + within))
        })?;
        match begun {
            Ok(op) if kind == Kind::Honest && chance.percent(15) => {
                self.to_cancel.push((now + chance.millis(0, 6), op));
            }
            Ok(_) => {}
            Err(why) => refused(why),
        }
        if is_held && chance.percent(50) {
            // When it cannot be told, the lease ends by itself.
            let _told = agent.finish(&grant);
        }
        Ok(())
    }

    /// Fetches one of a mesh by each transport, until it is there.
    pub(crate) fn fetch_mesh(&mut self, now: Duration, grant: &[u8], truth: &Truth) {
        let Ok(grant) = Grant::from_bytes(grant) else { return };
        let wanted = self.transports.iter().map(|&by| Wanted { grant: grant.clone(), truth: truth.clone(), by });
        self.mesh.extend(wanted.map(|wanted| (now, wanted)));
    }

    /// What has not come by now is wanted no more.
    pub(crate) fn end_mesh(&mut self) {
        self.mesh.clear();
        self.operations.values_mut().for_each(|operation| operation.mesh = None);
    }

    fn begin(
        &mut self,
        now: Duration,
        (grant, kind, truth, cache): (&Grant, Kind, Truth, usize),
        submit: impl Fn(Fetch<'_>) -> Result<(OpId, Duration)>,
    ) -> Result<Result<OpId, String>> {
        let Cache { pool, free, .. } = &mut self.caches[cache];
        let tokens = pool.layout().shape().tokens;
        let count = grant.blocks().len() * (SOURCE_TOKENS / tokens) as usize;
        if free.len() < count {
            return Ok(Err("no room".into()));
        }
        let blocks = free.split_off(free.len() - count);
        for &block in &blocks {
            fill(pool, block, POISON)?;
        }
        match submit(Fetch::new(grant, pool, &blocks)) {
            Ok((op, deadline)) => {
                let operation = Operation { kind, truth, cache, blocks, deadline, mesh: None, is_told: false };
                self.operations.insert(op, operation);
                Ok(Ok(op))
            }
            Err(error) => {
                // Then nothing was begun: it is watched all the same.
                self.watched.push(Watched { until: now + Duration::from_millis(50), cache, blocks, kind });
                Ok(Err(format!("submit: {:?}", error.kind())))
            }
        }
    }

    /// Does what is to be done by now.
    ///
    /// # Errors
    ///
    /// None that a pool of the right size has.
    pub(crate) fn turn(&mut self, agent: &Agent, now: Duration, told: &mut Vec<Told>) -> Result<()> {
        for place in (0..self.to_cancel.len()).rev() {
            if self.to_cancel[place].0 <= now {
                agent.cancel(self.to_cancel.swap_remove(place).1)?;
            }
        }
        for operation in self.operations.values_mut() {
            if now > operation.deadline + LATEST && !operation.is_told {
                operation.is_told = true;
                told.push(Told::Hung { kind: operation.kind, after: (now - operation.deadline).as_secs_f64() });
            }
        }
        for place in (0..self.watched.len()).rev() {
            if self.watched[place].until <= now {
                let watched = self.watched.swap_remove(place);
                self.look_again(watched, told)?;
            }
        }
        self.turn_mesh(agent, now)
    }

    fn turn_mesh(&mut self, agent: &Agent, now: Duration) -> Result<()> {
        for place in (0..self.mesh.len()).rev() {
            if self.mesh[place].0 > now || self.operations.len() >= MOST {
                continue;
            }
            let (_, wanted) = self.mesh.swap_remove(place);
            let cache = (0..self.caches.len()).find(|&at| fits(wanted.truth.pool, self.caches[at].place));
            let Some(cache) = cache else { continue };
            let (only, within) = ([wanted.by], Duration::from_secs(2));
            let begun = self.begin(now, (&wanted.grant, Kind::Mesh, wanted.truth.clone(), cache), |fetch| {
                agent.submit(&fetch.within(within).and_hold().only(&only)).map(|op| (op, now + within))
            })?;
            match begun.ok().and_then(|op| self.operations.get_mut(&op)) {
                Some(operation) => operation.mesh = Some(wanted),
                None => self.mesh.push((now + AGAIN, wanted)),
            }
        }
        Ok(())
    }

    /// Nothing was to be written to these any more.
    fn look_again(&mut self, watched: Watched, told: &mut Vec<Told>) -> Result<()> {
        let Watched { cache, blocks, kind, .. } = watched;
        let nothing = Truth { life: 0, pool: 0, blocks: Vec::new() };
        let mut late = 0;
        for (place, &block) in blocks.iter().enumerate() {
            late += look(&self.caches[cache].pool, block, place, &nothing, POISON)?.changed;
        }
        if late > 0 {
            told.push(Told::Ended(Ended {
                kind,
                outcome: usize::MAX,
                transport: String::new(),
                bytes: 0,
                checked_blocks: 0,
                wrong_bytes: late,
                foreign_bytes: 0,
                said: format!("{late} bytes were written after the end"),
            }));
        }
        self.caches[cache].free.extend(blocks);
        Ok(())
    }

    /// An operation ended: all that came is looked at.
    ///
    /// # Errors
    ///
    /// None that a pool of the right size has.
    pub(crate) fn ended(&mut self, fetched: &Fetched, now: Duration, told: &mut Vec<Told>) -> Result<()> {
        let Some(operation) = self.operations.remove(&fetched.op) else { return Ok(()) };
        let Operation { kind, truth, cache, blocks, mesh, .. } = operation;
        let pool = &self.caches[cache].pool;
        let (mut wrong_bytes, mut foreign_bytes, mut checked_blocks) = (0, 0, 0);
        for (place, &block) in blocks.iter().enumerate() {
            let found = look(pool, block, place, &truth, POISON)?;
            if fetched.blocks.has(place) {
                checked_blocks += 1;
                wrong_bytes += found.wrong;
            }
            foreign_bytes += match kind.may_bring_what_was_granted() {
                _ if !kind.is_forged() => 0,
                // Blocks that were granted may be read while they are written anew, and are not said to have arrived.
                true if matches!(fetched.outcome, Outcome::Corrupt | Outcome::Stale) => 0,
                true => found.foreign,
                false => found.changed,
            };
        }
        if fetched.outcome == Outcome::Done && !fetched.blocks.is_all() {
            wrong_bytes += 1;
        }
        told.push(Told::Ended(Ended {
            kind,
            outcome: Ended::place_of(fetched.outcome),
            transport: fetched.transport.to_owned(),
            bytes: fetched.bytes,
            checked_blocks,
            wrong_bytes,
            foreign_bytes,
            said: format!(
                "{} blocks of pool {} of life {}, {:?}",
                truth.blocks.len(),
                truth.pool,
                truth.life,
                fetched.why
            ),
        }));
        if fetched.outcome == Outcome::Done {
            self.caches[cache].free.extend(blocks);
        } else {
            for &block in &blocks {
                fill(pool, block, POISON)?;
            }
            let until = now + Duration::from_millis(20 + fetched.op.number() % 200);
            self.watched.push(Watched { until, cache, blocks, kind });
        }
        match mesh {
            Some(_) if fetched.outcome == Outcome::Done => told.push(Told::Meshed),
            Some(wanted) => self.mesh.push((now + AGAIN, wanted)),
            None => {}
        }
        Ok(())
    }
}

/// After how long one of a mesh that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Some of a grant's blocks, or all of them.
fn part(grant: &Grant, mut truth: Truth, chance: &mut Chance) -> Result<(Grant, Truth)> {
    if chance.percent(60) {
        return Ok((grant.clone(), truth));
    }
    let first = chance.below(grant.blocks().len());
    let end = first + 1 + chance.below(grant.blocks().len() - first);
    truth.blocks = truth.blocks[first..end].to_vec();
    Ok((grant.part(first..end)?, truth))
}
