//! Which endpoint: llm-d's configuration, asked per request.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

mod needs;
mod settings;

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::Arc;

use llmd_core::Result;
use llmd_routing::{Pool, Scheduler};

pub use self::needs::{llmd_needs, llmd_scheduler_needs};
pub use self::settings::llmd_scheduler_settings;
pub(crate) use self::settings::{Plan, plan};
use crate::boundary::{boundary, delivered, given, made, null};
use crate::clock::now;
use crate::decision::llmd_decision;
use crate::endpoint::llmd_endpoint;
use crate::error::llmd_error;
use crate::given::{items, text};
use crate::index::llmd_index;
use crate::quiet::quietly;
use crate::request::{llmd_request, request};
use crate::status::llmd_status;
use crate::string::llmd_string;

/// Chooses endpoints for requests. May be used by several threads at once.
#[derive(Debug)]
pub struct llmd_scheduler(Scheduler);

/// A scheduler of this configuration, an EndpointPickerConfig of llm-d in YAML; NULL when it cannot be made. `index` is what
/// `precise-prefix-cache-producer` asks; NULL when there is none. LLMD_INVALID says what is wrong and where,
/// LLMD_UNSUPPORTED what llm-d has and llmd has not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_scheduler_from_yaml(
    yaml: *const c_char,
    index: Option<&llmd_index>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_scheduler>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        build(Plan { yaml: unsafe { text(yaml, "yaml") }?, experimental: false }, index)
    })
}

/// The same, as the settings say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_scheduler_new(
    settings: *const llmd_scheduler_settings,
    index: Option<&llmd_index>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_scheduler>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        build(unsafe { plan(settings) }?, index)
    })
}

fn build(plan: Plan<'_>, index: Option<&llmd_index>) -> Result<llmd_scheduler> {
    let builder = Scheduler::from_yaml(plan.yaml)?.allow_experimental(plan.experimental);
    let builder = match index {
        Some(index) => builder.with_index(index.feed.reader().clone()),
        None => builder,
    };
    builder.build().map(llmd_scheduler)
}

/// Puts another configuration in the place of the old one, between two requests. Index, counts of what is in flight
/// and sessions stay; decisions that were made go on as they began. What the scheduler needs may change. When it is refused, the old one stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_scheduler_reload(
    scheduler: Option<&llmd_scheduler>,
    yaml: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(scheduler, "scheduler")?.0.reload_yaml(unsafe { text(yaml, "yaml") }?)
    })
}

/// Says in words what the scheduler is made of, what was added by default included; a line per part.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_scheduler_describe(
    scheduler: Option<&llmd_scheduler>,
    description: Option<&mut MaybeUninit<Option<Box<llmd_string>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(description, "description", error, || {
        Ok(llmd_string::new(given(scheduler, "scheduler")?.0.describe().to_string()))
    })
}

/// Chooses one of `endpoints`, and reserves a place there: the request counts as in flight until llmd_decision_end, or until
/// the decision is freed. LLMD_UNAVAILABLE when there are no endpoints; LLMD_EXHAUSTED when a filter, which is named, left
/// none; LLMD_STALE when the request prefers `if-available` and nothing of its prompt is cached; and what an admitter says.
/// llmd_error_http_status says how to answer the client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_scheduler_decide(
    scheduler: Option<&llmd_scheduler>,
    asked: *const llmd_request,
    endpoints: *const *mut llmd_endpoint,
    endpoints_len: usize,
    decision: Option<&mut MaybeUninit<Option<Box<llmd_decision>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(decision, "decision", error, || {
        let scheduler = &given(scheduler, "scheduler")?.0;
        // SAFETY: as llmd.h says.
        let (request, pool) = unsafe { (request(asked)?, pool(endpoints, endpoints_len)?) };
        let decision = scheduler.decide(&request, &pool, now(), &mut rand::rng())?;
        Ok(llmd_decision::new(decision, pool))
    })
}

unsafe fn pool(endpoints: *const *mut llmd_endpoint, len: usize) -> Result<Pool> {
    // SAFETY: as llmd.h says.
    let endpoints = unsafe { items(endpoints, len, "endpoints") }?;
    let endpoint = |(place, endpoint): (usize, &*mut llmd_endpoint)| {
        // SAFETY: as llmd.h says: NULL, or an endpoint that is not being freed.
        let endpoint = unsafe { endpoint.as_ref() }.ok_or_else(|| null(&format!("endpoints[{place}]")))?;
        Ok(Arc::clone(&endpoint.0))
    };
    Ok(Pool::new(endpoints.iter().enumerate().map(endpoint).collect::<Result<Vec<_>>>()?))
}

/// Gives back the reservations whose time is over, and says how many ever were: decisions that somebody forgot. Each decision
/// does so first; this is for a scheduler that has none to make. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_scheduler_lapse(scheduler: Option<&llmd_scheduler>) -> u64 {
    quietly(0, || scheduler.map_or(0, |scheduler| scheduler.0.lapse(now())))
}

/// Frees a scheduler. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_scheduler_free(scheduler: Option<Box<llmd_scheduler>>) {
    quietly((), || drop(scheduler));
}
