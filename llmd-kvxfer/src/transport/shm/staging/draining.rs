//! What landed in slots and goes on to a device: by a buffer that the device reaches, since it reaches no slot.

use std::collections::VecDeque;
use std::sync::Arc;

use llmd_core::Result;
use parking_lot::Mutex;

use super::{Failed, Place, StagedJob};
use crate::copy::copy_span;
use crate::device::{Buffer, CopyEngine, DeviceMemory, Direction, Moving};
use crate::outcome::Outcome;
use crate::pool::Pool;
use crate::transport::buffered::Buffered;
use crate::transport::copiers::{Step, Work};

/// How many parts of one transfer are under way: one is verified while the device copies another.
const DEPTH: usize = 2;

/// The parts of a transfer that are in slots, and those that the device copies.
pub(super) struct Draining {
    engine: Arc<CopyEngine>,
    memory: DeviceMemory,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    landed: VecDeque<Place>,
    flying: VecDeque<Flight>,
    /// Parts that a thread looks at just now, and that are in neither.
    looked_at: usize,
    /// Whether the threads that copy have been told.
    is_submitted: bool,
}

/// A part on its way from a buffer to the device.
struct Flight {
    part: usize,
    moving: Moving,
    failed: Failed,
}

/// A part cannot begin yet.
struct NotYet;

impl Draining {
    /// For a pool that is in a device.
    pub(super) fn into(pool: &Pool) -> Option<Self> {
        let (engine, there) = pool.engine().zip(pool.region().device())?;
        Some(Self { engine: Arc::clone(engine), memory: there.memory().clone(), state: Mutex::default() })
    }

    /// Takes a part that is in its slot.
    pub(super) fn take(&self, place: Place, job: &Arc<StagedJob>) -> Result<()> {
        let mut state = self.state.lock();
        state.landed.push_back(place);
        if std::mem::replace(&mut state.is_submitted, true) {
            return Ok(());
        }
        drop(state);
        job.home.copiers.submit(Arc::clone(job) as Arc<dyn Work>)
    }

    fn step(&self, job: &StagedJob) -> Step {
        let mut is_further = false;
        for _ in 0..DEPTH {
            let Some(flight) = self.next_flight() else { break };
            is_further |= self.go_on(job, flight);
        }
        if let Some(place) = self.next_landed() {
            is_further |= self.take_off(job, place);
        }
        let mut state = self.state.lock();
        if state.landed.is_empty() && state.flying.is_empty() && state.looked_at == 0 {
            state.is_submitted = false;
            return Step::Taken;
        }
        // Else the device has not finished, or another thread looks at what is left.
        if is_further { Step::More } else { Step::Later }
    }

    fn next_flight(&self) -> Option<Flight> {
        let mut state = self.state.lock();
        let flight = state.flying.pop_front()?;
        state.looked_at += 1;
        Some(flight)
    }

    fn next_landed(&self) -> Option<Place> {
        let mut state = self.state.lock();
        if state.flying.len() + state.looked_at >= DEPTH {
            return None;
        }
        let place = state.landed.pop_front()?;
        state.looked_at += 1;
        Some(place)
    }

    /// Goes on with a part, as far as the device has come. Says whether it got any further.
    fn go_on(&self, job: &StagedJob, mut flight: Flight) -> bool {
        let landed = flight.moving.landed();
        if matches!(landed, Ok(None)) {
            let mut state = self.state.lock();
            state.looked_at -= 1;
            state.flying.push_back(flight);
            return false;
        }
        let Flight { part, failed, moving } = flight;
        // The buffer is free for the next part before the last one ends the transfer.
        let ran = landed.map(drop);
        drop(moving);
        // All of it was sealed before it was begun, so that it is not begun again.
        job.end_part(part, ran, failed);
        self.state.lock().looked_at -= 1;
        true
    }

    /// Begins a part. Says whether it got any further.
    fn take_off(&self, job: &StagedJob, place: Place) -> bool {
        let begun = self.begin(job, place);
        if begun.is_ok() {
            job.source.staging.give_back(place);
        }
        let mut state = self.state.lock();
        state.looked_at -= 1;
        match begun {
            Ok(flight) => state.flying.extend(flight),
            Err(NotYet) => {
                state.landed.push_back(place);
                return false;
            }
        }
        true
    }

    /// Has a part copied on that is in its slot; `None` when it is over already. The slot is not needed any more then.
    fn begin(&self, job: &StagedJob, place: Place) -> Result<Option<Flight>, NotYet> {
        let part = place.part;
        if job.is_stopped() {
            return Ok(None);
        }
        if !job.are_sealed(part) {
            let unsealed = || job.written(part).map(|place| (place, Outcome::Timeout)).collect();
            let is_over = !job.begin_part() || job.end_part(part, Ok(()), unsealed());
            return if is_over { Ok(None) } else { Err(NotYet) };
        }
        let buffer = self.engine.buffer(job.source.packed.bytes()).transpose();
        let Some(buffer) = buffer else { return Err(NotYet) };
        if !job.begin_part() {
            return Ok(None);
        }
        let mut failed = Failed::new();
        match buffer.and_then(|buffer| self.drain(job, place, buffer, &mut failed)) {
            Ok(moving) => Ok(Some(Flight { part, moving, failed })),
            Err(error) => {
                job.end_part(part, Err(error), failed);
                Ok(None)
            }
        }
    }

    /// From a slot to a buffer, and from there to the device, what is right of it.
    fn drain(&self, job: &StagedJob, place: Place, buffer: Buffer, failed: &mut Failed) -> Result<Moving> {
        let buffered = job.buffered(place.part);
        let (_memory, slot) = job.source.staging.memory(place)?;
        let bytes = job.transfer.grant.layout().block_bytes() * buffered.from.len() as u64;
        copy_span((slot.0, slot.1), buffer.span(), bytes)?;
        if let Some(expected) = &job.source.check {
            buffered.verify(&buffer, &**expected, failed)?;
        }
        let copies = buffered.copies(|place| !failed.iter().any(|&(wrong, _)| wrong == place))?;
        self.engine.begin(Direction::ToDevice, &self.memory, buffer, copies)
    }
}

impl StagedJob {
    fn are_sealed(&self, part: usize) -> bool {
        let check = self.source.check.as_ref();
        check.is_none_or(|expected| self.blocks(part).iter().all(|&block| expected.sum(block).is_some()))
    }

    fn buffered(&self, part: usize) -> Buffered<'_> {
        let (period, written) = (self.transfer.plan.period(), self.written(part));
        let (first, to) = (written.start, &self.transfer.blocks[written]);
        Buffered { packed: &self.source.packed, period, from: self.blocks(part), to, first }
    }
}

impl Work for StagedJob {
    fn step(&self) -> Step {
        self.draining.as_ref().map_or(Step::Taken, |draining| draining.step(self))
    }
}
