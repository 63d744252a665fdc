//! Blocks that are copied for a peer which cannot reach them.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::super::copiers::{Step, Work};
use super::super::job::AT_ONCE;
use super::super::{Home, Reading, of_the_device, outcome_of};
use super::line::Line;
use super::message::{Answer, Request};
use super::staging::{MAX_AREAS, MAX_SLOT};
use crate::copy::{Span, copy_span, pack, places};
use crate::device::{DeviceCopy, Direction, Moving};
use crate::lease::LeaseId;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::region::{Access, Mapping};

/// How many requests of one peer may be under way: no more than its answers have room for.
const MAX_REQUESTS: usize = 256;
/// How many bytes of one peer's are mapped for one size of slots.
const MAX_AREA: u64 = 4 * MAX_SLOT;

/// The memory that a peer gave to be served into, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Serving {
    areas: Vec<Area>,
    /// By pool, how its blocks are packed.
    plans: HashMap<u32, Arc<Plan>>,
    under_way: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Area {
    memory: Arc<Mapping>,
    slots: u32,
    slot_bytes: u64,
}

impl Serving {
    /// Takes memory of a peer, its next.
    pub(super) fn add(&mut self, area: u32, slots: u32, slot_bytes: u64, fd: &OwnedFd) -> Result<()> {
        let refused = |why: &str| {
            let what = format!("area {area} of {slots} slots of {slot_bytes} bytes, expected {why}");
            Error::new(ErrorKind::Corrupt, what)
        };
        if area as usize != self.areas.len() || self.areas.len() >= MAX_AREAS {
            return Err(refused("the next, and not too many"));
        }
        let bytes = u64::from(slots).checked_mul(slot_bytes).filter(|bytes| (1..=MAX_AREA).contains(bytes));
        let bytes = bytes.ok_or_else(|| refused("something, and not too much"))?;
        let memory = Arc::new(Mapping::from_peer(fd.as_fd(), bytes as usize, Access::Write)?);
        self.areas.push(Area { memory, slots, slot_bytes });
        Ok(())
    }

    /// Has the blocks of a request copied, if its peer may read them. An error says that nobody asks this who means well.
    pub(super) fn serve(
        &mut self,
        home: &Arc<Home>,
        tenant: &str,
        answers: &Arc<Line>,
        request: Request,
    ) -> Result<()> {
        let Request { number, lease, capability, places, area, slot } = request;
        let broken = |why: String| Error::new(ErrorKind::Corrupt, format!("request {number}: {why}"));
        let area = self.areas.get(area as usize).filter(|area| slot < area.slots);
        let Some(area) = area else { return Err(broken(format!("slot {slot} of no area that is there"))) };
        if self.under_way.load(Ordering::Relaxed) >= MAX_REQUESTS {
            return Err(broken(format!("{MAX_REQUESTS} are under way")));
        }
        let reading = match home.admit(tenant, lease, &capability, places) {
            Ok(reading) => reading,
            Err(error) => {
                // When there is no room for the answer, whoever left none does not get it.
                answers.push(&Answer { number, outcome: outcome_of(error.kind()) }.to_slot());
                return Ok(());
            }
        };
        let bytes = reading.pool.layout().block_bytes().saturating_mul(reading.places.len() as u64);
        if bytes > area.slot_bytes {
            return Err(broken(format!("{bytes} bytes into a slot of {}", area.slot_bytes)));
        }
        let (memory, at) = (Arc::clone(&area.memory), u64::from(slot) * area.slot_bytes);
        let gather = self.plan(&reading.pool)?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let packing = Packing {
            home: Arc::clone(home),
            reading,
            lease,
            gather,
            memory,
            at: at as usize,
            bytes,
            number,
            answers: Arc::clone(answers),
            under_way: Arc::clone(&self.under_way),
            is_taken: AtomicBool::new(false),
        };
        if packing.reading.pool.moved().is_some() {
            return home.copiers.submit(Arc::new(DevicePacking { packing, state: Mutex::default() }));
        }
        let packing = Arc::new(packing);
        if bytes <= AT_ONCE {
            packing.step();
            return Ok(());
        }
        home.copiers.submit(packing)
    }

    fn plan(&mut self, pool: &Pool) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(&pool.id()) {
            return Ok(Arc::clone(plan));
        }
        let layout = pool.layout();
        let most = (MAX_SLOT / layout.block_bytes()).clamp(1, u32::MAX.into()) as u32;
        let plan = Arc::new(Plan::new(layout, &layout.packed(most)?)?);
        self.plans.insert(pool.id(), Arc::clone(&plan));
        Ok(plan)
    }
}

/// The blocks of one request.
struct Packing {
    home: Arc<Home>,
    reading: Reading,
    lease: LeaseId,
    gather: Arc<Plan>,
    memory: Arc<Mapping>,
    at: usize,
    bytes: u64,
    number: u64,
    answers: Arc<Line>,
    under_way: Arc<AtomicUsize>,
    is_taken: AtomicBool,
}

impl Packing {
    fn pack(&self) -> Result<()> {
        let Reading { pool, blocks, places } = &self.reading;
        let Span(address, len) = slot(&self.memory, self.at, self.bytes as usize)?;
        pack(&self.gather, pool.region(), &blocks[places.clone()], (address, len))
    }

    /// Says that its blocks are there, or why not.
    fn answer(&self, packed: Result<()>) {
        let outcome = match packed {
            _ if !self.home.holds(self.lease) => Outcome::Stale,
            Ok(()) => {
                self.home.counts.served_bytes.fetch_add(self.bytes, Ordering::Relaxed);
                Outcome::Done
            }
            Err(error) => outcome_of(error.kind()),
        };
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        // When there is no room for the answer, whoever left none does not get it.
        self.answers.push(&Answer { number: self.number, outcome }.to_slot());
    }
}

impl Work for Packing {
    fn step(&self) -> Step {
        if !self.is_taken.swap(true, Ordering::AcqRel) {
            self.answer(self.pack());
        }
        Step::Taken
    }
}

/// The blocks of one request that are in a device: it copies them to a buffer first.
struct DevicePacking {
    packing: Packing,
    state: Mutex<Copied>,
}

#[derive(Default)]
struct Copied {
    moving: Option<Moving>,
    is_over: bool,
}

impl DevicePacking {
    /// Goes on, as far as the device has come. `None` while it has not.
    fn go_on(&self, moving: &mut Option<Moving>) -> Option<Result<()>> {
        let Packing { reading: Reading { pool, blocks, places: range }, gather, memory, at, bytes, .. } = &self.packing;
        let (moved, there) = pool.moved().zip(pool.region().device())?;
        let Some(under_way) = moving else {
            let begun = moved.engine.buffer(*bytes).and_then(|buffer| {
                let Some(buffer) = buffer else { return Ok(None) };
                let into = places(range.len());
                let copies = gather.copies(&blocks[range.clone()], &into)?;
                let copies = copies.map(|copy| DeviceCopy { device: copy.from, host: copy.to, len: copy.len });
                moved.engine.begin(Direction::ToHost, there.memory(), buffer, copies.collect::<Vec<_>>()).map(Some)
            });
            return match begun {
                Ok(begun) => {
                    *moving = begun;
                    None
                }
                Err(error) => Some(Err(error)),
            };
        };
        match under_way.landed() {
            Ok(None) => None,
            Ok(Some(buffer)) => Some(
                slot(memory, *at, *bytes as usize)
                    .and_then(|Span(address, len)| copy_span(buffer.span(), (address, len), *bytes)),
            ),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Work for DevicePacking {
    fn step(&self) -> Step {
        // Another thread is at it.
        let Some(mut state) = self.state.try_lock() else { return Step::Taken };
        if state.is_over {
            return Step::Taken;
        }
        let Some(packed) = self.go_on(&mut state.moving) else { return Step::Later };
        state.is_over = true;
        self.packing.answer(packed.map_err(of_the_device));
        Step::Taken
    }
}

/// So many bytes of shared memory, from there on.
pub(super) fn slot(memory: &Mapping, at: usize, len: usize) -> Result<Span> {
    if at.checked_add(len).is_none_or(|end| end > memory.len()) {
        let message = format!("{len} bytes at {at} of shared memory of {}", memory.len());
        return Err(Error::new(ErrorKind::Internal, message));
    }
    let address = memory.address().addr().checked_add(at);
    let address = address.ok_or_else(|| Error::new(ErrorKind::Internal, "shared memory at the end of all"))?;
    Ok(Span(NonNull::with_addr(memory.address(), address), len))
}
