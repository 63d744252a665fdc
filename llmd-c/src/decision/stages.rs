//! The steps in which engines serve a request.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use llmd_core::Result;
use llmd_routing::NextStep;
use llmd_routing::plugin::Stage;

use super::llmd_decision;
use crate::boundary::{boundary, given, invalid};
use crate::clock::now;
use crate::error::llmd_error;
use crate::filled::fill;
use crate::status::llmd_status;

/// One step of serving a request, in the order in which they are done. Without a stage of its own, a step is done by the
/// endpoint of the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_stage {
    /// Multimodal items become embeddings.
    LLMD_STAGE_ENCODE = 0,
    /// The prompt becomes KV.
    LLMD_STAGE_PREFILL = 1,
    /// Tokens come out: the stage that every request has, and that answers.
    LLMD_STAGE_DECODE = 2,
}

/// How a request goes on after an endpoint failed at one of its stages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_next_step {
    /// It does not go on.
    LLMD_NEXT_FAIL = 0,
    /// Another endpoint does the stage: llmd_decision_stages says which.
    LLMD_NEXT_RETRY = 1,
    /// The endpoint of the next stage does it as well.
    LLMD_NEXT_WITHOUT = 2,
}

/// One stage of a request, and the endpoint that does it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_stage_route {
    /// The stage.
    pub stage: llmd_stage,
    /// The profile that chose.
    pub profile: *const c_char,
    /// The name of the endpoint that does it now.
    pub endpoint: *const c_char,
    /// Its address: `host:port`.
    pub address: *const c_char,
    /// Its place among the endpoints that llmd_scheduler_decide was given, counted from 0.
    pub place: usize,
    /// The data-parallel rank that it is for; -1 when the engine there has one, or chooses itself.
    pub rank: i64,
    /// How many seconds the stage may take, from when it is begun; -1 when as long as the whole request.
    pub deadline: f64,
}

use llmd_stage::{LLMD_STAGE_DECODE, LLMD_STAGE_ENCODE, LLMD_STAGE_PREFILL};

impl From<Stage> for llmd_stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Decode => LLMD_STAGE_DECODE,
            Stage::Encode => LLMD_STAGE_ENCODE,
            Stage::Prefill => LLMD_STAGE_PREFILL,
        }
    }
}

/// The stage of a number, which need not be one.
fn stage(number: c_int) -> Result<Stage> {
    let known = Stage::ALL.into_iter().find(|&stage| llmd_stage::from(stage) as c_int == number);
    known.ok_or_else(|| invalid(format!("stage {number}: expected one of llmd_stage")))
}

/// Writes to `stages` the stages that have an endpoint of their own, in the order in which they are done; the last is the
/// decode, which answers. `stages_len` says how many there is room for, and is told how many there are: three at most.
/// LLMD_EXHAUSTED when that is more; nothing else is written then. Names live as long as the decision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_stages(
    decision: Option<&llmd_decision>,
    stages: *mut llmd_stage_route,
    stages_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let mut held = given(decision, "decision")?.0.lock();
        let told = held.stages();
        // SAFETY: as llmd.h says.
        unsafe { fill(stages, stages_len, told.into_iter(), "stages") }
    })
}

/// Writes to `places` every candidate of a stage, best first, by its place among the endpoints that llmd_scheduler_decide was
/// given. Those that were tried stay. `places_len` says how many there is room for, and is told how many there are: none when
/// the stage has no endpoint of its own. LLMD_EXHAUSTED when that is more; nothing else is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_ranked(
    decision: Option<&llmd_decision>,
    of_stage: c_int,
    places: *mut usize,
    places_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let held = given(decision, "decision")?.0.lock();
        let route = held.decision.stage(stage(of_stage)?);
        let ranked: Vec<_> = route.iter().flat_map(|route| &route.ranked).map(|one| held.place_of(one)).collect();
        // SAFETY: as llmd.h says.
        unsafe { fill(places, places_len, ranked.into_iter(), "places") }
    })
}

/// The endpoint of a stage failed at it: tells `next` how the request goes on, and reserves there. An endpoint that does not fit
/// those of the other stages is passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_stage_failed(
    decision: Option<&llmd_decision>,
    failed: c_int,
    next: Option<&mut MaybeUninit<llmd_next_step>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (decision, next) = (given(decision, "decision")?, given(next, "next")?);
        let step = decision.0.lock().stage_failed(stage(failed)?, now());
        next.write(match step {
            NextStep::Retry(_) => llmd_next_step::LLMD_NEXT_RETRY,
            NextStep::Without => llmd_next_step::LLMD_NEXT_WITHOUT,
            // Fail, and what is not known here.
            _ => llmd_next_step::LLMD_NEXT_FAIL,
        });
        Ok(())
    })
}

/// A stage before the decode is done: its reservation is released.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_stage_done(
    decision: Option<&llmd_decision>,
    done: c_int,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        given(decision, "decision")?.0.lock().decision.stage_done(stage(done)?);
        Ok(())
    })
}

/// Writes to `stages` those that were wanted, and for which nobody was left: the endpoint of the next one does them as well.
/// `stages_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else
/// is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_skipped(
    decision: Option<&llmd_decision>,
    stages: *mut llmd_stage,
    stages_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let held = given(decision, "decision")?.0.lock();
        let skipped = held.decision.skipped().iter().map(|&stage| stage.into());
        // SAFETY: as llmd.h says.
        unsafe { fill(stages, stages_len, skipped, "stages") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_number_and_no_other_number_is_one() {
        for known in Stage::ALL {
            assert_eq!(stage(llmd_stage::from(known) as c_int).unwrap(), known);
        }
        for unknown in [-1, 3] {
            let said = stage(unknown).unwrap_err().to_string();
            assert_eq!(said, format!("stage {unknown}: expected one of llmd_stage"));
        }
    }
}
