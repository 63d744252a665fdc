//! What is broken while engines work.

use std::time::Duration;

use indicatif::ProgressBar;
use llmd_core::Result;

use super::{Conductor, PEERS};
use crate::fuzz;
use crate::message::Order;

/// What can be done to an engine.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Exhaust,
    Fuzz,
    Kill,
    LongPause,
    Pause,
    Rebuild,
}

/// How often each is done, in parts of the sum.
const SHARES: [(Fault, usize); 7] = [
    (Fault::Cut, 20),
    (Fault::Exhaust, 8),
    (Fault::Fuzz, 30),
    (Fault::Kill, 8),
    (Fault::LongPause, 6),
    (Fault::Pause, 16),
    (Fault::Rebuild, 8),
];

/// How much longer than planned it may take until enough operations have ended.
const OVERTIME: u32 = 3;

impl Conductor<'_> {
    /// Breaks something every moment, until the time is over.
    pub(super) fn break_things(&mut self, progress: &ProgressBar) -> Result<()> {
        let began = self.clock.now();
        let mut next = began;
        loop {
            let (now, transfers) = (self.clock.now(), self.tally.transfers);
            progress.set_position((now - began).as_secs().min(self.plan.time.as_secs()));
            progress.set_message(format!("{transfers} operations"));
            let is_enough = transfers >= self.plan.transfers || now - began > self.plan.time * OVERTIME;
            if now - began > self.plan.time && is_enough {
                return Ok(());
            }
            self.listen(true);
            let came = self.impostor.answer(&mut self.chance);
            self.tally.fault("answers_of_an_impostor", came as u64);
            self.wake_and_start(now)?;
            if now >= next {
                next = now + self.chance.millis(20, 200);
                self.break_something(now);
            }
        }
    }

    /// Those whose pause is over go on, and those that were killed begin again.
    fn wake_and_start(&mut self, now: Duration) -> Result<()> {
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            match &mut slot.process {
                Some(process) if process.paused.is_some_and(|until| until <= now) => process.resume(),
                Some(_) => {}
                None if slot.starts_at <= now => self.start(place)?,
                None => {}
            }
        }
        Ok(())
    }

    fn break_something(&mut self, now: Duration) {
        let all: usize = SHARES.iter().map(|(_, share)| share).sum();
        let mut at = self.chance.below(all);
        let fault = SHARES.iter().find(|(_, share)| {
            let is_it = at < *share;
            at = at.saturating_sub(*share);
            is_it
        });
        let Some(&(fault, _)) = fault else { return };
        // The neighbour is hurt at times, and the stranger is left alone.
        let place = self.chance.below(PEERS * 4 + 1).min(PEERS * 4) / 4;
        let slot = &mut self.slots[place];
        let Some(process) = slot.process.as_mut().filter(|process| slot.is_up && process.paused.is_none()) else {
            return;
        };
        match fault {
            Fault::Cut => {
                let all = self.chance.percent(40);
                let count = process.cut(|| all || self.chance.percent(30));
                self.tally.fault("connections_cut", count as u64);
            }
            Fault::Exhaust => {
                let _lost = process.order(&Order::Exhaust { millis: 30 + self.chance.below(500) as u64 });
                self.tally.fault("descriptors_exhausted", 1);
                // An agent that is built just then cannot open what it needs.
                if self.chance.percent(30) {
                    let _lost = process.order(&Order::Rebuild);
                    self.tally.fault("agents_rebuilt", 1);
                }
            }
            Fault::Fuzz => self.fuzz(place),
            Fault::Kill => {
                process.kill();
                slot.process = None;
                slot.starts_at = now + self.chance.millis(0, 300);
                self.tally.fault("killed", 1);
            }
            Fault::LongPause => {
                process.pause(now + self.chance.millis(1000, 3000));
                self.tally.fault("paused_longer_than_leases", 1);
            }
            Fault::Pause => {
                process.pause(now + self.chance.millis(2, 250));
                self.tally.fault("paused", 1);
            }
            Fault::Rebuild => {
                let _lost = process.order(&Order::Rebuild);
                self.tally.fault("agents_rebuilt", 1);
            }
        }
    }

    fn fuzz(&mut self, place: usize) {
        if self.silent.len() > 16 {
            self.silent.clear();
        }
        let addresses = &self.slots[place].addresses;
        for _ in 0..4 {
            if let Some(path) = addresses.get("shm")
                && fuzz::unix(path, &mut self.chance, &mut self.silent)
            {
                self.tally.fault("noise_at_unix_sockets", 1);
            }
            if let Some(address) = addresses.get("tcp")
                && fuzz::tcp(address, &mut self.chance, &mut self.silent)
            {
                self.tally.fault("noise_at_tcp_ports", 1);
            }
        }
    }
}
