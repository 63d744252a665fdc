//! What TensorRT-LLM says about its cache.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::MaybeUninit;

use llmd_core::Result;
use llmd_core::event::{KvEventBatch, Numbered, TrtllmDecoder, TrtllmEvents};
use parking_lot::Mutex;

use super::fault::{Fault, llmd_event_error};
use super::{llmd_events, no_place, tell_fault};
use crate::boundary::{boundary, delivered, given, made};
use crate::error::llmd_error;
use crate::given::items;
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, answer, settings};
use crate::status::llmd_status;

/// Reads what one TensorRT-LLM engine says of its cache. What its events leave unsaid it remembers: one of them reads all that
/// an engine says, in order. May be used by several threads at once, which take turns.
#[derive(Debug)]
pub struct llmd_trtllm(Mutex<TrtllmDecoder>);

/// What a reader of TensorRT-LLM's events is made with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_trtllm_settings {
    /// sizeof(llmd_trtllm_settings).
    pub struct_size: usize,
    /// The engine's `tokens_per_block`. Default: 32.
    pub block_size: u32,
    /// How many blocks can be remembered that do not lie in GPU memory; those beyond are errors of their batches. Default:
    /// 1,048,576.
    pub max_places: usize,
}

impl Sizes for llmd_trtllm_settings {
    const NAME: &'static str = "llmd_trtllm_settings";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers, in C's layout, with the size first.
unsafe impl Settings for llmd_trtllm_settings {}

/// What TensorRT-LLM has by default.
const BLOCK_SIZE: u32 = 32;

/// A reader of TensorRT-LLM's events; NULL when it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_trtllm_new(
    settings: *const llmd_trtllm_settings,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_trtllm>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let given = unsafe { self::settings(settings) }?;
        let decoder = TrtllmDecoder::new(if given.block_size == 0 { BLOCK_SIZE } else { given.block_size });
        let decoder = if given.max_places == 0 { decoder } else { decoder.with_max_places(given.max_places) };
        Ok(llmd_trtllm(Mutex::new(decoder)))
    })
}

/// What an engine said, event by event: each that has a number is a batch by itself. May be read by several threads at once.
#[derive(Debug)]
pub struct llmd_trtllm_events {
    batches: Vec<(llmd_events, Numbered<()>)>,
    faults: Vec<Fault>,
}

impl llmd_trtllm_events {
    fn new(said: TrtllmEvents) -> Self {
        let faults = said.errors.iter().map(Fault::new).collect();
        let batch = |numbered: Numbered<KvEventBatch>| {
            let place = with_batch(&numbered, ());
            (llmd_events::new(numbered.batch), place)
        };
        Self { batches: said.batches.into_iter().map(batch).collect(), faults }
    }

    /// The batch at `place`, as an index takes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) when there is none.
    pub(crate) fn numbered(&self, place: usize) -> Result<Numbered<KvEventBatch>> {
        let (events, numbered) = self.batch(place)?;
        Ok(with_batch(numbered, events.batch.clone()))
    }

    fn batch(&self, place: usize) -> Result<&(llmd_events, Numbered<()>)> {
        self.batches.get(place).ok_or_else(|| no_place("batch", place, self.batches.len()))
    }
}

/// Another batch with the same number.
fn with_batch<A, B>(numbered: &Numbered<A>, batch: B) -> Numbered<B> {
    Numbered::new(numbered.seq, numbered.fingerprint, batch)
        .made_at(numbered.made_at)
        .clearing_gpu(numbered.clears_gpu)
        .beyond_gpu(numbered.beyond_gpu)
        .unreadable(numbered.unreadable)
}

/// Reads what the engine says next: the answer of `trtllm-serve` to `POST /kv_cache_events`, or what the `LLM` class gives by
/// `get_kv_cache_events()`, as JSON. An event that cannot be read takes no other with it. LLMD_CORRUPT when the bytes are neither
/// a list nor an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_trtllm_decode(
    trtllm: Option<&llmd_trtllm>,
    said: *const u8,
    said_len: usize,
    events: Option<&mut MaybeUninit<Option<Box<llmd_trtllm_events>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(events, "events", error, || {
        let decoder = &given(trtllm, "trtllm")?.0;
        // SAFETY: as llmd.h says.
        let said = unsafe { items(said, said_len, "said") }?;
        decoder.lock().decode(said).map(llmd_trtllm_events::new)
    })
}

/// How many blocks were not remembered, since there was no room. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_trtllm_places_dropped(trtllm: Option<&llmd_trtllm>) -> u64 {
    trtllm.map_or(0, |trtllm| trtllm.0.lock().places_dropped())
}

/// Frees a reader. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_trtllm_free(trtllm: Option<Box<llmd_trtllm>>) {
    quietly((), || drop(trtllm));
}

/// One batch among several, with the number that the engine gave it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_trtllm_batch {
    /// sizeof(llmd_trtllm_batch).
    pub struct_size: usize,
    /// Its number.
    pub seq: u64,
    /// What it says, and which rank does. Lives as long as what it is told of.
    pub events: *const llmd_events,
}

impl Sizes for llmd_trtllm_batch {
    const NAME: &'static str = "llmd_trtllm_batch";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

/// How many batches there are. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_trtllm_events_len(events: Option<&llmd_trtllm_events>) -> usize {
    events.map_or(0, |events| events.batches.len())
}

/// Tells about the batch at `place`, counted from 0. Set `batch->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_trtllm_events_get(
    events: Option<&llmd_trtllm_events>,
    place: usize,
    batch: *mut llmd_trtllm_batch,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (events, numbered) = given(events, "events")?.batch(place)?;
        let told = |struct_size| Ok(llmd_trtllm_batch { struct_size, seq: numbered.seq, events: &raw const *events });
        // SAFETY: as llmd.h says.
        unsafe { answer(batch, told) }
    })
}

/// How many events could not be read whose number or rank is not known, and can be asked for. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_trtllm_events_errors_len(events: Option<&llmd_trtllm_events>) -> usize {
    events.map_or(0, |events| events.faults.len())
}

/// Tells about the event that could not be read at `place` among those, counted from 0. Its pointers live as long as `events`.
/// Set `event_error->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_trtllm_events_error(
    events: Option<&llmd_trtllm_events>,
    place: usize,
    event_error: *mut llmd_event_error,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        unsafe { tell_fault(&given(events, "events")?.faults, place, event_error) }
    })
}

/// Frees what an engine said. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_trtllm_events_free(events: Option<Box<llmd_trtllm_events>>) {
    quietly((), || drop(events));
}
