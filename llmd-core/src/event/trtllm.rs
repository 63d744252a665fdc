//! TensorRT-LLM's events, as JSON → batches with their numbers.

mod json;
mod places;
mod said;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use json::{Cursor, Value};
use places::Places;
use said::{Said, expected};

use super::fault::{Fault, report};
use super::{EventError, KvEvent, KvEventBatch, Numbered};
use crate::{Error, ErrorKind, Result};

/// Reads what one TensorRT-LLM engine says of its cache.
///
/// The bytes are the answer of `trtllm-serve` to `POST /kv_cache_events`, or what the `LLM` class gives by
/// `get_kv_cache_events()`, as JSON: a list of events, or one event. The format is that of TensorRT-LLM's own serializer
/// (`KVCacheEventSerializer`, releases 0.20 to 1.3), read from its source; nothing here was recorded from an engine.
/// `docs/wire/kv-events.md` has it field by field.
///
/// Each event is a batch by itself, since the engine numbers events: [`Numbered::seq`] is its `event_id`, and the rank
/// that speaks is the batch's [`data_parallel_rank`](KvEventBatch::data_parallel_rank). Every rank counts for itself. The
/// engine replays nothing, so a [`Sequencer`](super::Sequencer) of such a stream is one without replay.
///
/// What the events leave unsaid, the decoder remembers, so one of them reads all that an engine says, in order:
///
/// - Of a removed block they do not say where it lay. Blocks beyond GPU memory are remembered, up to `max_places`.
/// - The engine stores the last block of a prompt before it is full. Such a block has no name in an index: it is left
///   out, and so is its removal.
/// - They say how far a group's attention reaches, and not whether that is all there is. The longest window that an
///   engine announces when it starts is taken for full attention, and is group 0; what reaches less far is a sliding
///   window, in the group of its length. Groups that the engine numbers keep their numbers.
///
/// ```
/// use llmd_core::event::{KvEvent, TrtllmDecoder};
///
/// let answer = br#"[{"event_id": 7, "window_size": 4096, "data": {"type": "stored", "parent_hash": null, "blocks":
///     [{"block_hash": 944, "tokens": [{"token_id": 1}, {"token_id": 2}], "cache_level": 0}]}}]"#;
/// let events = TrtllmDecoder::new(2).decode(answer)?;
///
/// assert_eq!(events.batches[0].seq, 7);
/// let KvEvent::BlockStored(stored) = &events.batches[0].batch.events[0] else { unreachable!() };
/// assert_eq!((&stored.token_ids[..], stored.block_size), (&[1, 2][..], 2));
/// # Ok::<(), llmd_core::Error>(())
/// ```
#[derive(Debug)]
pub struct TrtllmDecoder {
    block_size: u32,
    places: Places,
    places_dropped: u64,
    /// The longest window of each rank, in tokens. There are at most `MAX_RANKS`.
    full_windows: HashMap<Option<u32>, u32>,
}

/// What an engine said, event by event.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TrtllmEvents {
    /// Each event that has a number, in the order in which they came. What could not be read of it is among the batch's
    /// [`errors`](KvEventBatch::errors), and it is [`unreadable`](Numbered::unreadable) then.
    pub batches: Vec<Numbered<KvEventBatch>>,
    /// What could not be read of events whose number or rank is not known, up to
    /// [`MAX_EVENT_ERRORS`](super::MAX_EVENT_ERRORS). Nothing else is lost.
    pub errors: Vec<EventError>,
    /// How many more errors there were.
    pub errors_dropped: usize,
}

impl TrtllmDecoder {
    /// For an engine with blocks of this many tokens (`tokens_per_block`), of which up to 1,048,576 are remembered that
    /// do not lie in GPU memory.
    pub fn new(block_size: u32) -> Self {
        Self { block_size, places: Places::new(1 << 20), places_dropped: 0, full_windows: HashMap::new() }
    }

    /// The same, with this limit to the blocks that are remembered.
    #[must_use]
    pub fn with_max_places(self, max_places: usize) -> Self {
        Self { places: Places::new(max_places), ..self }
    }

    /// How many blocks are remembered that do not lie in GPU memory.
    pub fn places(&self) -> usize {
        self.places.held()
    }

    /// How many blocks were not remembered, since there was no room. Each is an error of its batch.
    pub fn places_dropped(&self) -> u64 {
        self.places_dropped
    }

    /// Reads what the engine says next.
    ///
    /// An event that cannot be read keeps its number, with its errors, and nothing else is lost; where the bytes end too
    /// early, what came before is kept. Fields that we do not know are skipped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when the bytes are neither a list nor an event.
    pub fn decode(&mut self, answer: &[u8]) -> Result<TrtllmEvents> {
        let mut cursor = Cursor::new(answer);
        let mut events = TrtllmEvents::default();
        let start = cursor.at();
        let mut index = 0;
        let followed = match cursor.value().map_err(no_events)? {
            Value::Array(mut open) => loop {
                match cursor.item(&mut open) {
                    Ok(true) if self.event(index, &mut cursor, &mut events) => index += 1,
                    Ok(true) => return Ok(events),
                    Ok(false) => break Ok(()),
                    Err(fault) => break Err(fault),
                }
            },
            Value::Null => Ok(()),
            Value::Object(_) => {
                cursor.rewind(start);
                if !self.event(index, &mut cursor, &mut events) {
                    return Ok(events);
                }
                index += 1;
                Ok(())
            }
            other => return Err(no_events(expected(start, "a list of events", &other))),
        };
        let end = cursor.at();
        let followed = followed.and_then(|()| match cursor.left() {
            0 => Ok(()),
            left => Err(Fault::new(end, format!("{left} bytes after the end of the events"))),
        });
        if let Err(fault) = followed {
            events.report(index, fault);
        }
        Ok(events)
    }

    /// Reads one event; says whether the bytes can be followed behind it.
    fn event(&mut self, index: usize, cursor: &mut Cursor<'_>, events: &mut TrtllmEvents) -> bool {
        let start = cursor.at();
        let mut said = Said::default();
        let followed = said.read(cursor);
        let whole = followed.is_ok();
        let mut faults = Vec::from_iter(said.fault.take());
        let end = followed.err().filter(|end| faults.first().is_none_or(|fault| fault.byte != end.byte));
        faults.extend(end);
        if faults.is_empty() && said.event_id.is_none() {
            faults.push(Fault::new(start, "event_id is missing").in_field("event_id"));
        }
        let Some(seq) = said.event_id.filter(|_| faults.iter().all(|fault| fault.field != "attention_dp_rank")) else {
            faults.into_iter().for_each(|fault| events.report(index, fault));
            return whole;
        };
        let mut batch = KvEventBatch { data_parallel_rank: said.rank, ..KvEventBatch::default() };
        if faults.is_empty() {
            faults.extend(self.tell(said, start, &mut batch.events).err());
        }
        faults.into_iter().for_each(|fault| batch.report(index, fault));
        let unreadable = !batch.errors.is_empty();
        let beyond_gpu = batch.events.iter().any(KvEvent::is_beyond_gpu);
        let numbered = Numbered::new(seq, xxh3_64(cursor.since(start)), batch);
        events.batches.push(numbered.unreadable(unreadable).beyond_gpu(beyond_gpu));
        whole
    }
}

impl TrtllmEvents {
    fn report(&mut self, event: usize, fault: Fault) {
        report(&mut self.errors, &mut self.errors_dropped, event, fault);
    }
}

fn no_events(fault: Fault) -> Error {
    Error::new(ErrorKind::Corrupt, format!("no list of events: at byte {}: {}", fault.byte, fault.message))
}
