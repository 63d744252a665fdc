//! The places that a decision holds: one at each endpoint that it sends the request to.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::deadlines::Deadlines;
use super::parts::Runs;
use crate::Pool;
use crate::plugin::{Attributes, Stage};
use crate::producer::{InFlightLoad, Reservation, Reserve};
use crate::profile::Run;

/// The places that a decision holds, by run.
#[derive(Debug)]
pub(super) struct Reserved {
    places: SmallVec<[Option<Reservation>; 1]>,
    deadlines: Arc<Mutex<Deadlines>>,
    max_output_tokens: Option<u32>,
    /// Whether the request counts already.
    counts: bool,
}

impl Reserved {
    /// Nothing yet. Places lapse by `deadlines`.
    pub(super) fn new(deadlines: Arc<Mutex<Deadlines>>, max_output_tokens: Option<u32>) -> Self {
        Self { places: SmallVec::new(), deadlines, max_output_tokens, counts: false }
    }

    /// Counts the request in wherever a run sends it, under the lock, unless that is to happen when it is sent.
    pub(super) fn at_pick(
        &mut self,
        deadlines: &mut Deadlines,
        load: &InFlightLoad,
        runs: &Runs,
        pool: &Pool,
        attributes: &Attributes,
        now: Duration,
    ) {
        self.places.resize_with(runs.len(), || None);
        if load.reserve == Reserve::AtPick {
            self.counts = true;
            for place in 0..runs.len() {
                self.places[place] = self.place(load, runs, place, pool, attributes, now);
                self.places[place].iter().for_each(|reservation| deadlines.add(reservation.place()));
            }
        }
    }

    /// Counts the request in where the run at `place` sends it now, in the place of where it sent it before.
    pub(super) fn again(
        &mut self,
        load: &InFlightLoad,
        runs: &Runs,
        place: usize,
        pool: &Pool,
        attributes: &Attributes,
        now: Duration,
    ) {
        let reservation = self.place(load, runs, place, pool, attributes, now);
        if let Some(reservation) = &reservation {
            self.deadlines.lock().add(reservation.place());
        }
        self.places[place] = reservation;
    }

    /// Says that the request counts from now on, unless it does already.
    pub(super) const fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.counts, true)
    }

    /// Whether the run at this place holds one.
    pub(super) fn holds(&self, place: usize) -> bool {
        self.places.get(place).is_some_and(Option::is_some)
    }

    /// One run has done its stage: its place is given back.
    pub(super) fn done(&mut self, place: usize) {
        self.places.get_mut(place).and_then(Option::take).iter().for_each(Reservation::first_token);
    }

    /// Gives back all.
    pub(super) fn release_all(&mut self) {
        self.places.clear();
    }

    /// The prompt has been computed: its tokens count no more, and neither do the stages before the decode.
    pub(super) fn first_token(&mut self, runs: &Runs, now: Duration, ttl: Duration) {
        for (reservation, run) in self.places.iter_mut().zip(runs) {
            let Some(held) = reservation else { continue };
            held.first_token();
            held.place().set_deadline(now.saturating_add(ttl));
            if run.stage != Stage::Decode {
                *reservation = None;
            }
        }
    }

    /// Puts off the deadlines: the request goes on.
    pub(super) fn renew(&self, now: Duration, ttl: Duration) {
        // Under the lock: nothing lapses meanwhile.
        let _deadlines = self.deadlines.lock();
        self.places.iter().flatten().for_each(|held| held.place().set_deadline(now.saturating_add(ttl)));
    }

    fn place(
        &self,
        load: &InFlightLoad,
        runs: &Runs,
        place: usize,
        pool: &Pool,
        attributes: &Attributes,
        now: Duration,
    ) -> Option<Reservation> {
        let run = &runs[place];
        let chosen = run.current()?;
        let uncached = if computes_prompt(runs, run) { attributes.uncached_tokens(chosen) } else { 0 };
        let (prompt, decodes) = (attributes.prompt_tokens(), run.stage == Stage::Decode);
        let reservation = load.reserve(&pool[chosen], uncached, prompt, decodes, self.max_output_tokens);
        reservation.place().set_deadline(now.saturating_add(load.ttl));
        Some(reservation)
    }
}

/// Whether the endpoint of this run computes the prompt: where it is prefilled, or where it is decoded when that is nowhere
/// else.
fn computes_prompt(runs: &Runs, run: &Run) -> bool {
    match run.stage {
        Stage::Encode => false,
        Stage::Prefill => true,
        Stage::Decode => !runs.iter().any(|run| run.stage == Stage::Prefill && run.current().is_some()),
    }
}
