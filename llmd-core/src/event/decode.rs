//! The payload of one message → a batch of events, whatever engine and version wrote it.

mod cursor;
mod draft;
mod event;
mod field;
#[cfg(test)]
mod tests;
mod value;

use cursor::{Cursor, Head};
use value::expected;

use super::KvEventBatch;
use super::fault::Fault;
use crate::{Error, ErrorKind, Result};

/// The shortest event that an engine sends: a map or an array of one, with the type `AllBlocksCleared`.
const SHORTEST_EVENT: usize = 18;

/// Reads the payload of one message: vLLM's (arrays to 0.23, maps from 0.24) or SGLang's.
///
/// The payload is msgpack: `[timestamp, [event, …], data_parallel_rank]`, of which the rank may be nil or missing.
/// An event that cannot be read becomes one of [`KvEventBatch::errors`], with its place, and nothing else is lost; where
/// the bytes end too early, what came before is kept. Fields that we do not know are skipped.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] when the payload is no batch at all.
///
/// ```
/// use llmd_core::event::{KvEvent, decode_batch};
///
/// let payload = b"\x93\xca\x3f\x80\x00\x00\x92\x91\xb0AllBlocksCleared\x91\xa4What\x03";
/// let batch = decode_batch(payload)?;
///
/// assert_eq!(batch.events, [KvEvent::AllBlocksCleared]);
/// assert_eq!(batch.errors[0].to_string(), r#"event 1 at byte 26, field type: unknown event type "What""#);
/// assert_eq!((batch.timestamp, batch.data_parallel_rank), (1.0, Some(3)));
/// # Ok::<(), llmd_core::Error>(())
/// ```
pub fn decode_batch(payload: &[u8]) -> Result<KvEventBatch> {
    let mut cursor = Cursor::new(payload);
    let opening = read_opening(&mut cursor).map_err(no_batch)?;
    let mut batch = KvEventBatch { timestamp: opening.timestamp, ..KvEventBatch::default() };
    if read_events(&mut cursor, opening.events, &mut batch).is_ok()
        && let Err(fault) = read_rest(&mut cursor, opening.values_after, &mut batch)
    {
        batch.report(opening.events as usize, fault);
    }
    Ok(batch)
}

/// What stands before the first event.
struct Opening {
    timestamp: f64,
    /// How many events there are said to be.
    events: u32,
    /// How many values there are said to be after them.
    values_after: u32,
}

fn read_opening(cursor: &mut Cursor<'_>) -> Result<Opening, Fault> {
    let values_after = match cursor.head()? {
        Head::Array(len @ 2..) => len - 2,
        Head::Array(len) => {
            return Err(Fault::new(0, format!("expected a timestamp and events, found an array of {len}")));
        }
        other => return Err(expected(0, "an array", other)),
    };
    let start = cursor.at();
    let timestamp = match cursor.head()? {
        Head::Float(seconds) => seconds,
        Head::Negative(seconds) => seconds as f64,
        Head::Unsigned(seconds) => seconds as f64,
        other => return Err(expected(start, "a timestamp", other)),
    };
    let start = cursor.at();
    match cursor.head()? {
        Head::Array(events) => Ok(Opening { timestamp, events, values_after }),
        other => Err(expected(start, "an array of events", other)),
    }
}

/// The bytes cannot be followed any further.
struct Lost;

fn read_events(cursor: &mut Cursor<'_>, events: u32, batch: &mut KvEventBatch) -> Result<(), Lost> {
    batch.events.reserve((events as usize).min(cursor.left() / SHORTEST_EVENT));
    for index in 0..events as usize {
        let start = cursor.at();
        let fault = match event::read(cursor) {
            Ok(event) => {
                batch.events.push(event);
                continue;
            }
            Err(fault) => fault,
        };
        cursor.rewind(start);
        let end = cursor.skip();
        let at = fault.byte;
        batch.report(index, fault);
        if let Err(end) = end {
            if end.byte != at {
                batch.report(index, end);
            }
            return Err(Lost);
        }
    }
    Ok(())
}

/// The rank, and what later versions may add behind it.
fn read_rest(cursor: &mut Cursor<'_>, values: u32, batch: &mut KvEventBatch) -> Result<(), Fault> {
    if values > 0 {
        batch.data_parallel_rank = value::number(cursor).map_err(|fault| fault.in_field("data_parallel_rank"))?;
    }
    for _ in 1..values {
        cursor.skip()?;
    }
    match cursor.left() {
        0 => Ok(()),
        left => Err(Fault::new(cursor.at(), format!("{left} bytes after the end of the batch"))),
    }
}

fn no_batch(fault: Fault) -> Error {
    Error::new(ErrorKind::Corrupt, format!("no batch of events: at byte {}: {}", fault.byte, fault.message))
}
