//! What is looked at while nothing is broken: whether all goes well again, and whether anything is held that was not before.

use std::time::Duration;

use llmd_core::Result;

use super::{Conductor, PEERS};
use crate::message::{Measured, Order};
use crate::pools::OF_NEIGHBOUR;

/// How long everything may take that takes moments: handshakes that hang are given up after five seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may happen before it is looked at again.
const PAUSE: Duration = Duration::from_millis(200);

/// An agent's own thread, and those that copy.
const THREADS: usize = 3;

impl Conductor<'_> {
    /// Nothing is broken any more, and nothing begun: all that is under way and all leases come to their ends.
    pub(super) fn calm_down(&mut self) -> Result<()> {
        for slot in &mut self.slots {
            if let Some(process) = &mut slot.process {
                process.resume();
            }
        }
        for place in 0..self.slots.len() {
            if self.slots[place].process.is_none() {
                self.start(place)?;
            }
        }
        self.are_up()?;
        self.all(&Order::Calm);
        self.silent.clear();
        let is_idle = |measured: &Measured| measured.leases == 0 && measured.operations == 0;
        if !self.measure_until(|_, measured| is_idle(measured)) {
            for place in 0..self.slots.len() {
                let Some(measured) = self.slots[place].measured.clone() else { continue };
                let none = Measured { leases: 0, operations: 0, ..measured.clone() };
                self.tally.leak(place, "when all had ended", &measured, &none);
            }
        }
        Ok(())
    }

    /// Everyone fetches from everyone, by each transport.
    pub(super) fn connect_all(&mut self) {
        // Two pools of each peer go to each other, and one to the neighbour.
        self.mesh = PEERS * ((PEERS - 1) * OF_NEIGHBOUR + 1) * self.plan.transports.len();
        self.all(&Order::Mesh);
        let began = self.clock.now();
        while self.mesh > 0 {
            if self.clock.now() - began > PATIENCE {
                self.tally.missing(format!("{} blocks did not come while nothing was broken", self.mesh));
                break;
            }
            self.listen(false);
        }
        self.all(&Order::EndMesh);
    }

    pub(super) fn remember_connected(&mut self) {
        self.measure_until(|_, measured| measured.leases == 0 && measured.operations == 0);
        for slot in &mut self.slots {
            slot.connected = slot.measured.clone().unwrap_or_default();
            // One that has copied nothing yet has no threads that copy.
            slot.connected.threads = slot.connected.threads.max(slot.before.threads + THREADS);
        }
    }

    pub(super) fn compare_connected(&mut self) {
        let connected: Vec<_> = self.slots.iter().map(|slot| slot.connected.clone()).collect();
        self.measure_until(|place, measured| measured.beyond(&connected[place]).is_empty());
        for (place, connected) in connected.iter().enumerate() {
            match self.slots[place].measured.clone() {
                Some(measured) => self.tally.leak(place, "when all were connected again", &measured, connected),
                None => self.tally.missing(format!("engine {place} does not say what it holds")),
            }
        }
    }

    /// Agents end: nothing of them is left.
    pub(super) fn end_agents(&mut self) {
        self.all(&Order::End);
        let began = self.clock.now();
        while self.slots.iter().any(|slot| slot.left.is_none()) && self.clock.now() - began < PATIENCE {
            self.listen(false);
        }
        for place in 0..self.slots.len() {
            let before = self.slots[place].before.clone();
            match self.slots[place].left.clone() {
                Some(left) => self.tally.leak(place, "when its agent had ended", &left, &before),
                None => self.tally.missing(format!("the agent of engine {place} does not end")),
            }
        }
        // They end with their standard input, which is nothing to remark upon.
        self.slots.iter_mut().for_each(|slot| drop(slot.process.take()));
    }

    /// Measures until all is as it should be, or too much time has passed. Says whether it is.
    fn measure_until(&mut self, is_right: impl Fn(usize, &Measured) -> bool) -> bool {
        let began = self.clock.now();
        loop {
            self.slots.iter_mut().for_each(|slot| slot.measured = None);
            self.all(&Order::Measure);
            let asked = self.clock.now();
            while self.clock.now() - asked < PAUSE || self.slots.iter().any(|slot| slot.measured.is_none()) {
                if self.clock.now() - began > PATIENCE {
                    break;
                }
                self.listen(false);
            }
            let mut all = self.slots.iter().enumerate();
            let is_all = all.all(|(place, slot)| slot.measured.as_ref().is_some_and(|now| is_right(place, now)));
            if is_all || self.clock.now() - began > PATIENCE {
                return is_all;
            }
        }
    }
}
