//! The values that fields of events have: numbers, texts, names of blocks, lists of them.

use super::cursor::{Cursor, Head};
use crate::event::EventExtraKey;
use crate::event::fault::Fault;
use crate::{ExternalBlockHash, TokenId};

/// A text, or nil.
pub(super) fn text<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a str>, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Nil => Ok(None),
        Head::Str(bytes) => utf8(start, bytes).map(Some),
        other => Err(expected(start, "a string or nil", other)),
    }
}

/// A number that fits 32 bits without a sign, or nil.
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<Option<u32>, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Nil => Ok(None),
        head => unsigned(start, head).map(Some),
    }
}

/// A number of 64 bits with a sign, or nil.
pub(super) fn signed_number(cursor: &mut Cursor<'_>) -> Result<Option<i64>, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Nil => Ok(None),
        head => signed(start, head).map(Some),
    }
}

/// A block's name, or nil.
pub(super) fn block_hash(cursor: &mut Cursor<'_>) -> Result<Option<ExternalBlockHash>, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Nil => Ok(None),
        head => name(start, head).map(Some),
    }
}

/// A list of blocks' names.
pub(super) fn block_hashes(cursor: &mut Cursor<'_>) -> Result<Vec<ExternalBlockHash>, Fault> {
    list(cursor, |cursor| {
        let start = cursor.at();
        name(start, cursor.head()?)
    })
}

/// A list of tokens.
pub(super) fn token_ids(cursor: &mut Cursor<'_>) -> Result<Vec<TokenId>, Fault> {
    list(cursor, |cursor| {
        let start = cursor.at();
        unsigned(start, cursor.head()?)
    })
}

/// One list of extra keys per block, each of which may be nil; or nil for all.
pub(super) fn extra_keys(cursor: &mut Cursor<'_>) -> Result<Vec<Vec<EventExtraKey>>, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Nil => Ok(Vec::new()),
        Head::Array(len) => items(cursor, len, |cursor| {
            let start = cursor.at();
            match cursor.head()? {
                Head::Nil => Ok(Vec::new()),
                Head::Array(len) => items(cursor, len, extra_key),
                other => Err(expected(start, "a block's extra keys, as an array or nil", other)),
            }
        }),
        other => Err(expected(start, "an array or nil", other)),
    }
}

fn extra_key(cursor: &mut Cursor<'_>) -> Result<EventExtraKey, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Bin(digest) => Ok(EventExtraKey::Digest(digest.into())),
        Head::Str(bytes) => Ok(EventExtraKey::Text(utf8(start, bytes)?.into())),
        Head::Array(2) => {
            let start = cursor.at();
            let identifier = match cursor.head()? {
                Head::Str(bytes) => utf8(start, bytes)?.into(),
                other => return Err(expected(start, "a multimodal identifier, as a string", other)),
            };
            let start = cursor.at();
            let offset = signed(start, cursor.head()?)?;
            Ok(EventExtraKey::Multimodal { identifier, offset })
        }
        Head::Array(len) => {
            Err(Fault::new(start, format!("expected an identifier and its offset, found an array of {len}")))
        }
        other => Err(expected(start, "an extra key, as a string, bytes, or an identifier and its offset", other)),
    }
}

fn list<'a, T>(
    cursor: &mut Cursor<'a>,
    item: impl FnMut(&mut Cursor<'a>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let start = cursor.at();
    match cursor.head()? {
        Head::Array(len) => items(cursor, len, item),
        other => Err(expected(start, "an array", other)),
    }
}

/// As many items as an array claims. No memory is taken for more than there can be in the bytes that are left.
fn items<'a, T>(
    cursor: &mut Cursor<'a>,
    len: u32,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut items = Vec::with_capacity(if len as usize > cursor.left() { 0 } else { len as usize });
    for _ in 0..len {
        items.push(item(cursor)?);
    }
    Ok(items)
}

/// A block's name: an integer, whose bits count and not its sign, or bytes.
fn name(start: usize, head: Head<'_>) -> Result<ExternalBlockHash, Fault> {
    match head {
        Head::Bin(bytes) | Head::Str(bytes) => Ok(ExternalBlockHash::from_bytes(bytes)),
        Head::Negative(number) => Ok(ExternalBlockHash::from_int(number.cast_unsigned())),
        Head::Unsigned(number) => Ok(ExternalBlockHash::from_int(number)),
        other => Err(expected(start, "a block hash, as an integer or bytes", other)),
    }
}

pub(super) fn unsigned(start: usize, head: Head<'_>) -> Result<u32, Fault> {
    match head {
        Head::Unsigned(number) => u32::try_from(number).map_err(|_| out_of_range(start, "32 bits", number)),
        Head::Negative(number) => Err(Fault::new(start, format!("expected a number from 0, found {number}"))),
        other => Err(expected(start, "a number", other)),
    }
}

fn signed(start: usize, head: Head<'_>) -> Result<i64, Fault> {
    match head {
        Head::Unsigned(number) => i64::try_from(number).map_err(|_| out_of_range(start, "63 bits", number)),
        Head::Negative(number) => Ok(number),
        other => Err(expected(start, "a number", other)),
    }
}

pub(super) fn utf8(start: usize, bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| Fault::new(start, format!("expected UTF-8: {error}")))
}

pub(super) fn expected(start: usize, what: &str, found: Head<'_>) -> Fault {
    Fault::new(start, format!("expected {what}, found {}", found.what()))
}

fn out_of_range(start: usize, width: &str, number: u64) -> Fault {
    Fault::new(start, format!("expected a number of at most {width}, found {number}"))
}
