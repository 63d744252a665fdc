//! llmd itself: one agent lends blocks of a memfd, another fetches them.
//!
//! A transfer holds its lease, as NIXL's reads leave a peer's memory registered: what is measured is the read.

#![expect(unsafe_code, reason = "who has which blocks of the two pools is known here")]

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{
    Agent, AgentBuilder, Check, Event, Fetch, Grant, KvLayout, Lease, OpId, Outcome, Pool, Region, Shm, Tcp,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::family::{Family, Pull, Serve, Wait};
use crate::memory::Memory;
use crate::work::{Work, word};

/// llmd's agents, in each form that is measured.
#[derive(Debug)]
pub(crate) struct Llmd;

/// Longer than a run takes.
const DAY: Lease = Lease::for_secs(86_400);
/// Longer than a transfer takes.
const LONG: Duration = Duration::from_secs(60);

impl Family for Llmd {
    fn name(&self) -> &'static str {
        "llmd"
    }

    fn serve(&self, form: &str, pool: usize) -> Result<Box<dyn Serve>> {
        let region = Region::memfd(pool)?;
        let words: Vec<u8> = (0..pool / size_of::<u64>()).flat_map(|place| word(place).to_ne_bytes()).collect();
        region.write(0, &words)?;
        let side = Common::new(builder("holder", form)?, region)?;
        Ok(Box::new(Holder { side, is_sealed: form != "shm_unchecked", puller: None }))
    }

    fn pull(&self, form: &str, pool: usize) -> Result<Box<dyn Pull>> {
        let memory = Arc::new(Memory::create(pool)?);
        let address = NonNull::new(memory.block(0, pool)).ok_or_else(|| invalid("memory that lies at zero"))?;
        // SAFETY: the memory is there as long as the region has it, and nobody looks at it while blocks are fetched.
        let region = unsafe { Region::adopt_pointer(address, pool, Arc::clone(&memory)) };
        let side = Common::new(builder("puller", form)?, region)?;
        Ok(Box::new(Puller { side, memory, holder: None, grants: Vec::new(), under_way: None }))
    }
}

fn builder(name: &str, form: &str) -> Result<AgentBuilder> {
    let agent = Agent::builder(name);
    Ok(match form {
        "shm" | "shm_checked" | "shm_otherns" => agent.transport(Shm::default()),
        "shm_unchecked" => agent.check(Check::Off).transport(Shm::default()),
        "tcp" => agent.transport(Tcp::bind("127.0.0.1:0")?),
        _ => return Err(invalid(&format!("no form {form:?} of llmd"))),
    })
}

/// What both sides have.
#[derive(Debug)]
struct Common {
    agent: Agent,
    region: Region,
    /// The same memory in blocks of each size.
    pools: BTreeMap<usize, Pool>,
    /// For the other side, to say something about.
    spoken_of: Grant,
}

impl Common {
    fn new(builder: AgentBuilder, region: Region) -> Result<Self> {
        let agent = builder.build()?;
        let small = agent.register(region.clone(), KvLayout::opaque("", 1, 4096)?)?;
        let spoken_of = agent.grant(&small, &[0], DAY)?;
        Ok(Self { agent, region, pools: BTreeMap::new(), spoken_of })
    }

    fn pool(&mut self, size: usize) -> Result<Pool> {
        if let Some(pool) = self.pools.get(&size) {
            return Ok(pool.clone());
        }
        let pool = self.new_pool(size)?;
        self.pools.insert(size, pool.clone());
        Ok(pool)
    }

    fn new_pool(&self, size: usize) -> Result<Pool> {
        let layout = KvLayout::opaque("", (self.region.len() / size) as u32, size as u32)?;
        self.agent.register(self.region.clone(), layout)
    }

    /// What was said to this side, once something was.
    fn heard(&self, wait: Wait) -> Result<Option<u128>> {
        if wait == Wait::Sleeping {
            asleep(self.agent.wake_fd());
        }
        let mut events = Vec::new();
        self.agent.poll(&mut events)?;
        Ok(events.into_iter().find_map(|event| match event {
            Event::Notified(notified) => Some(notified.value),
            _ => None,
        }))
    }
}

/// Until something happened, or a tenth of a second has passed.
fn asleep(fd: BorrowedFd<'_>) {
    let tenth = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // Where a signal came, the caller looks and finds nothing.
    let _woken = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&tenth));
}

/// Lends blocks.
#[derive(Debug)]
struct Holder {
    side: Common,
    /// Whether sums are taken.
    is_sealed: bool,
    puller: Option<Grant>,
}

impl Serve for Holder {
    fn offer(&mut self) -> Result<Value> {
        Ok(json!(text(&self.side.spoken_of)))
    }

    fn meet(&mut self, offer: &Value) -> Result<()> {
        self.puller = Some(grant(offer)?);
        Ok(())
    }

    fn prepare(&mut self, work: &Work) -> Result<Value> {
        let pool = self.side.pool(work.point.size)?;
        let grants: Vec<Grant> = (0..work.transfers())
            .map(|pull| self.side.agent.grant(&pool, work.list(pull).theirs(), DAY))
            .collect::<Result<_>>()?;
        if self.is_sealed {
            wait_for_seals(&pool, grants.iter().flat_map(|grant| grant.blocks().iter().copied()));
        }
        Ok(json!(grants.iter().map(text).collect::<Vec<_>>()))
    }

    fn echo(&mut self, wait: Wait) -> Result<()> {
        let puller = self.puller.as_ref().ok_or_else(|| invalid("nobody was met"))?;
        for _ in 0..TURN {
            if let Some(value) = self.side.heard(wait)? {
                self.side.agent.notify(puller, value)?;
            } else if wait == Wait::Sleeping {
                break;
            }
        }
        Ok(())
    }

    fn seal(&mut self, work: &Work, pull: usize) -> Result<()> {
        // What was sealed stays so as long as it is lent: a new pool has sealed nothing.
        let pool = self.side.new_pool(work.point.size)?;
        let blocks = work.list(pull).theirs();
        self.side.agent.grant(&pool, blocks, DAY)?;
        wait_for_seals(&pool, blocks.iter().copied());
        self.side.agent.unregister(&pool)
    }
}

/// How often one who spins looks before it looks for questions.
const TURN: u32 = 100_000;

/// Until these are sealed.
fn wait_for_seals(pool: &Pool, blocks: impl Iterator<Item = u32>) {
    for block in blocks {
        while !pool.is_sealed(block) {
            std::thread::yield_now();
        }
    }
}

/// Fetches them.
#[derive(Debug)]
struct Puller {
    side: Common,
    memory: Arc<Memory>,
    holder: Option<Grant>,
    grants: Vec<Grant>,
    under_way: Option<OpId>,
}

impl Pull for Puller {
    fn offer(&mut self) -> Result<Value> {
        Ok(json!(text(&self.side.spoken_of)))
    }

    fn meet(&mut self, offer: &Value) -> Result<()> {
        self.holder = Some(grant(offer)?);
        Ok(())
    }

    fn prepare(&mut self, work: &Work, tickets: &Value) -> Result<()> {
        self.side.pool(work.point.size)?;
        let tickets = tickets.as_array().ok_or_else(|| invalid("tickets that are no list"))?;
        self.grants = tickets.iter().map(grant).collect::<Result<_>>()?;
        // Whoever fetches first of a pool has it mapped, and its pages are entered after that.
        self.post(work, 0)?;
        self.finish()?;
        std::thread::sleep(MAPPED);
        Ok(())
    }

    fn post(&mut self, work: &Work, pull: usize) -> Result<()> {
        let pool = self.side.pools.get(&work.point.size).ok_or_else(|| invalid("nothing was prepared"))?;
        let grant = self.grants.get(pull).ok_or_else(|| invalid("a transfer without a ticket"))?;
        let fetch = Fetch::new(grant, pool, work.list(pull).mine()).within(LONG).and_hold();
        self.under_way = Some(self.side.agent.submit(&fetch)?);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(op) = self.under_way.take() else { return Ok(()) };
        let fetched = self.side.agent.wait(op, LONG)?;
        match fetched.outcome {
            Outcome::Done => Ok(()),
            other => Err(Error::new(ErrorKind::Corrupt, format!("{other}: {:?}", fetched.why))),
        }
    }

    fn pool(&mut self) -> &mut [u64] {
        let (at, len) = (self.memory.block(0, self.memory.len()), self.memory.len());
        // SAFETY: nothing is under way, so that nobody else looks at the memory, which is as long and aligned to a page.
        unsafe { std::slice::from_raw_parts_mut(at.cast(), len / size_of::<u64>()) }
    }

    fn notify(&mut self, wait: Wait) -> Result<()> {
        let holder = self.holder.as_ref().ok_or_else(|| invalid("nobody was met"))?;
        self.side.agent.notify(holder, 7)?;
        for _ in 0..LOOKS_FOR_AN_ANSWER {
            if self.side.heard(wait)?.is_some() {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "no answer came"))
    }
}

/// How long it takes at most to enter all pages of a pool.
const MAPPED: Duration = Duration::from_millis(400);
/// Some seconds of looking, or minutes of sleeping.
const LOOKS_FOR_AN_ANSWER: u32 = 5_000_000;

fn text(grant: &Grant) -> String {
    grant.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn grant(text: &Value) -> Result<Grant> {
    let digits = text.as_str().unwrap_or_default().as_bytes();
    let (pairs, _) = digits.as_chunks::<2>();
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    let bytes: Vec<u8> = pairs.iter().map(|&[high, low]| value(high) << 4 | value(low)).collect();
    Grant::from_bytes(&bytes)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, what.to_owned())
}
