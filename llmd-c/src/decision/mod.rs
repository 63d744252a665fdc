//! Where a request goes, and the place that is held for it there.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

mod headers;
mod held;
mod report;
mod said;
mod stages;
mod usage;

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::ptr;

use llmd_core::{Error, ErrorKind};
use llmd_routing::{Decision, Pool};
use parking_lot::Mutex;

pub use self::headers::{
    llmd_decision_destination, llmd_decision_headers, llmd_decision_request_headers,
    llmd_decision_request_headers_removed,
};
use self::held::Held;
pub use self::report::{llmd_decision_report, llmd_reported};
pub use self::stages::{
    llmd_decision_ranked, llmd_decision_skipped, llmd_decision_stage_done, llmd_decision_stage_failed,
    llmd_decision_stages, llmd_next_step, llmd_stage, llmd_stage_route,
};
pub use self::usage::llmd_usage;
use self::usage::usage;
use crate::boundary::{boundary, delivered, given};
use crate::clock::now;
use crate::error::llmd_error;
use crate::given::text;
use crate::quiet::quietly;
use crate::status::llmd_status;
use crate::string::llmd_string;

/// Where a request goes, and its reservation there. Free it when the request is over, whatever became of it. May be used by
/// several threads at once. It may outlive its scheduler, its index and its endpoints.
#[derive(Debug)]
pub struct llmd_decision(Mutex<Held>);

impl llmd_decision {
    pub(crate) fn new(decision: Decision, pool: Pool) -> Self {
        Self(Mutex::new(Held::new(decision, pool)))
    }
}

/// What a decision that may be NULL says, or `otherwise`.
fn said<T: Copy>(decision: Option<&llmd_decision>, otherwise: T, what: impl FnOnce(&mut Held) -> T) -> T {
    quietly(otherwise, || decision.map_or(otherwise, |decision| what(&mut decision.0.lock())))
}

/// The name of the endpoint that the request goes to. Lives as long as the decision; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_endpoint(decision: Option<&llmd_decision>) -> *const c_char {
    said(decision, ptr::null(), Held::name)
}

/// Its address: `host:port`. Lives as long as the decision; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_address(decision: Option<&llmd_decision>) -> *const c_char {
    said(decision, ptr::null(), Held::address)
}

/// Its place among the endpoints that llmd_scheduler_decide was given, counted from 0. SIZE_MAX for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_place(decision: Option<&llmd_decision>) -> usize {
    said(decision, usize::MAX, |held| held.place())
}

/// How many tokens of the prompt it is expected to take from its cache; 0 when no plugin looks at caches, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_predicted_hit_tokens(decision: Option<&llmd_decision>) -> usize {
    said(decision, 0, |held| held.decision.predicted_hit_tokens())
}

/// The data-parallel rank that the request is for; -1 when the engine there has one, or chooses itself, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_rank(decision: Option<&llmd_decision>) -> i64 {
    said(decision, -1, |held| held.decision.rank().map_or(-1, i64::from))
}

/// What the configured plugins said about the request under this name, such as `agent-identity`. Lives as long as the
/// decision; NULL when nobody said anything, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_attribute(
    decision: Option<&llmd_decision>,
    name: *const c_char,
) -> *const c_char {
    // SAFETY: as llmd.h says.
    let Ok(name) = (unsafe { text(name, "name") }) else { return ptr::null() };
    said(decision, ptr::null(), |held| held.attribute(name).unwrap_or(ptr::null()))
}

/// Counts the request in, where the configuration says that it counts from when it is sent; else it does already.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_sent(
    decision: Option<&llmd_decision>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        given(decision, "decision")?.0.lock().decision.sent(now());
        Ok(())
    })
}

/// The request goes on: its reservation lapses as long after now as after a decision.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_renew(
    decision: Option<&llmd_decision>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        given(decision, "decision")?.0.lock().decision.renew(now());
        Ok(())
    })
}

/// The endpoint failed before its first byte: the reservation moves to the next best. LLMD_UNAVAILABLE when all were tried,
/// or the request is over; the reservation then stays where it is.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_advance(
    decision: Option<&llmd_decision>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        if given(decision, "decision")?.0.lock().advance(now()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "no endpoint is left to try for this request"))
    })
}

/// The first token came back: the prompt has been computed, and its tokens are in flight no more. Later ones are not heard.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_first_token(
    decision: Option<&llmd_decision>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        given(decision, "decision")?.0.lock().decision.first_token(now());
        Ok(())
    })
}

/// The response is complete: the reservation is released. What comes after is not heard. `used` is what the engine says it
/// took, and may be NULL. A decision that is freed without an end was aborted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_decision_end(
    decision: Option<&llmd_decision>,
    used: *const llmd_usage,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let decision = given(decision, "decision")?;
        // SAFETY: as llmd.h says.
        let used = unsafe { usage(used) }?;
        decision.0.lock().decision.end(now(), &used);
        Ok(())
    })
}

/// Says in words why this endpoint: a table per profile.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_explain(
    decision: Option<&llmd_decision>,
    explanation: Option<&mut MaybeUninit<Option<Box<llmd_string>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(explanation, "explanation", error, || {
        let explanation = given(decision, "decision")?.0.lock().decision.explain();
        Ok(llmd_string::new(explanation.to_string()))
    })
}

/// The same as a JSON object, with the numbers as they are.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_explain_json(
    decision: Option<&llmd_decision>,
    explanation: Option<&mut MaybeUninit<Option<Box<llmd_string>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(explanation, "explanation", error, || {
        let explanation = given(decision, "decision")?.0.lock().decision.explain();
        Ok(llmd_string::new(explanation.to_json()))
    })
}

/// Frees a decision, and releases its reservation. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_decision_free(decision: Option<Box<llmd_decision>>) {
    quietly((), || drop(decision));
}
