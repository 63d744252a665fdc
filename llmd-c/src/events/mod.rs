//! What an engine says about its cache, event by event.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

mod event;
mod fault;
mod trtllm;

use std::mem::MaybeUninit;

use llmd_core::event::{KvEventBatch, decode_batch};

use self::event::Event;
pub use self::event::{llmd_block_name, llmd_event, llmd_event_kind, llmd_locality, llmd_medium};
use self::fault::Fault;
pub use self::fault::llmd_event_error;
pub use self::trtllm::{
    llmd_trtllm, llmd_trtllm_batch, llmd_trtllm_decode, llmd_trtllm_events, llmd_trtllm_events_error,
    llmd_trtllm_events_errors_len, llmd_trtllm_events_free, llmd_trtllm_events_get, llmd_trtllm_events_len,
    llmd_trtllm_free, llmd_trtllm_new, llmd_trtllm_places_dropped, llmd_trtllm_settings,
};
use crate::boundary::{boundary, delivered, given, invalid};
use crate::error::llmd_error;
use crate::given::items;
use crate::quiet::quietly;
use crate::sized::answer;
use crate::status::llmd_status;

/// One message of an engine's event stream, decoded. May be read by several threads at once.
#[derive(Debug)]
pub struct llmd_events {
    // Points into `batch`, and so stands before it and goes first.
    events: Vec<Event>,
    faults: Vec<Fault>,
    batch: KvEventBatch,
}

impl llmd_events {
    fn new(batch: KvEventBatch) -> Self {
        let events = batch.events.iter().map(Event::new).collect();
        let faults = batch.errors.iter().map(Fault::new).collect();
        Self { events, faults, batch }
    }
}

/// Decodes the payload of one message of an engine: vLLM's and SGLang's, of any version that is known. An event that
/// cannot be read takes no other with it: it is among the errors. LLMD_CORRUPT when the payload is no batch at all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_events_decode(
    payload: *const u8,
    payload_len: usize,
    events: Option<&mut MaybeUninit<Option<Box<llmd_events>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(events, "events", error, || {
        // SAFETY: as llmd.h says.
        decode_batch(unsafe { items(payload, payload_len, "payload") }?).map(llmd_events::new)
    })
}

/// When the engine made the batch, in seconds of the engine's clock. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_events_timestamp(events: Option<&llmd_events>) -> f64 {
    events.map_or(0.0, |events| events.batch.timestamp)
}

/// The data-parallel rank that speaks; -1 where the engine does not say so, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_events_data_parallel_rank(events: Option<&llmd_events>) -> i64 {
    events.and_then(|events| events.batch.data_parallel_rank).map_or(-1, i64::from)
}

/// How many events could be read. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_events_len(events: Option<&llmd_events>) -> usize {
    events.map_or(0, |events| events.events.len())
}

/// Tells about the event at `place`, counted from 0. Its pointers live as long as `events`. Set `event->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_events_get(
    events: Option<&llmd_events>,
    place: usize,
    event: *mut llmd_event,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let events = &given(events, "events")?.events;
        let found = events.get(place).ok_or_else(|| no_place("event", place, events.len()))?;
        // SAFETY: as llmd.h says.
        unsafe { answer(event, |struct_size| Ok(found.told(struct_size))) }
    })
}

/// How many events could not be read, and can be asked for. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_events_errors_len(events: Option<&llmd_events>) -> usize {
    events.map_or(0, |events| events.faults.len())
}

/// How many more errors there were than are kept. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_events_errors_dropped(events: Option<&llmd_events>) -> usize {
    events.map_or(0, |events| events.batch.errors_dropped)
}

/// Tells about the event that could not be read at `place` among those, counted from 0. Its pointers live as long as
/// `events`. Set `event_error->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_events_error(
    events: Option<&llmd_events>,
    place: usize,
    event_error: *mut llmd_event_error,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        unsafe { tell_fault(&given(events, "events")?.faults, place, event_error) }
    })
}

/// Frees events. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_events_free(events: Option<Box<llmd_events>>) {
    quietly((), || drop(events));
}

/// Tells about the one of `faults` at `place`.
///
/// # Safety
///
/// As [`answer`].
unsafe fn tell_fault(faults: &[Fault], place: usize, event_error: *mut llmd_event_error) -> llmd_core::Result<()> {
    let found = faults.get(place).ok_or_else(|| no_place("error", place, faults.len()))?;
    // SAFETY: as said.
    unsafe { answer(event_error, |struct_size| Ok(found.told(struct_size))) }
}

fn no_place(what: &str, place: usize, len: usize) -> llmd_core::Error {
    invalid(format!("{what} {place} is not there, expected one below {len}"))
}
