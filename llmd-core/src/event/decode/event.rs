//! One event, in either encoding: an array whose first value is its type, or a map with the key `type`.

use super::cursor::{Cursor, Head};
use super::draft::{Draft, Kind};
use super::field::Field;
use super::value::expected;
use crate::event::KvEvent;
use crate::event::fault::Fault;

/// Reads an event. After a fault the cursor stands somewhere inside it.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<KvEvent, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Array(0) => Err(type_is_missing(start)),
        Head::Array(len) => array(cursor, start, len),
        Head::Map(len) => map(cursor, start, len),
        other => Err(expected(start, "an event, as an array or a map", other)),
    }
}

/// vLLM to 0.23: the fields in order, and fewer of them the older it is.
fn array(cursor: &mut Cursor<'_>, start: usize, len: u32) -> Result<KvEvent, Fault> {
    let kind = read_kind(cursor)?;
    let mut fields = kind.array_fields().iter();
    let mut draft = Draft::default();
    for _ in 1..len {
        match fields.next() {
            Some(&field) => draft.read(field, cursor)?,
            None => cursor.skip()?,
        }
    }
    draft.finish(kind, start)
}

/// vLLM from 0.24, and SGLang: the fields by name, in any order; what we do not know is skipped.
fn map(cursor: &mut Cursor<'_>, start: usize, len: u32) -> Result<KvEvent, Fault> {
    let mut kind = None::<Kind>;
    let mut draft = Draft::default();
    for _ in 0..len {
        let key = key(cursor)?;
        if key == Some(b"type") {
            kind = Some(read_kind(cursor)?);
            continue;
        }
        match key.and_then(Field::from_key) {
            Some(field) if kind.is_none_or(|kind| kind.has(field)) => draft.read(field, cursor)?,
            _ => cursor.skip()?,
        }
    }
    draft.finish(kind.ok_or_else(|| type_is_missing(start))?, start)
}

/// Reads a key. `None` when it is no string, and so none of ours.
fn key<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Fault> {
    let start = cursor.at();
    if let Head::Str(key) = cursor.head()? {
        return Ok(Some(key));
    }
    cursor.rewind(start);
    cursor.skip()?;
    Ok(None)
}

fn read_kind(cursor: &mut Cursor<'_>) -> Result<Kind, Fault> {
    Kind::read(cursor).map_err(|fault| fault.in_field("type"))
}

fn type_is_missing(start: usize) -> Fault {
    Fault::new(start, "type is missing").in_field("type")
}
