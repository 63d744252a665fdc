//! What a scheduler and its workers say to each other, as bytes: a version, what it is, and its fields.

mod command;
mod notice;
#[cfg(test)]
mod tests;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

pub(super) use self::command::{Command, Groups};
pub(super) use self::notice::{Here, Notice};
use crate::session::RequestId;
use crate::wire::{Reader, Writer};

/// The version of all that follows the handshake.
const VERSION: u8 = 1;
/// How many cache groups an engine may have.
pub(super) const MAX_GROUPS: usize = 64;
/// How long a text may be that says why.
const MAX_WHY: usize = 512;

fn begin(kind: u8) -> Writer {
    let mut writer = Writer::default();
    writer.byte(VERSION);
    writer.byte(kind);
    writer
}

fn expect<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(u8, Reader<'a>)> {
    let mut reader = Reader::new(what, bytes);
    let version = reader.byte("version")?;
    if version != VERSION {
        let message =
            format!("a {what} of version {version}, expected {VERSION}: the other side is of another release");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let kind = reader.byte("kind")?;
    Ok((kind, reader))
}

fn id(reader: &mut Reader<'_>) -> Result<RequestId> {
    let name = reader.text("request", RequestId::MAX_BYTES)?;
    RequestId::new(name).map_err(|error| reader.wrong("request", format_args!("is {error}")))
}

fn group(reader: &mut Reader<'_>) -> Result<GroupIdx> {
    reader.small("group").map(GroupIdx)
}

/// So many of something, each read in turn.
fn several<'a, T>(
    reader: &mut Reader<'a>,
    field: &'static str,
    most: usize,
    mut each: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.at_most(field, most as u64)?;
    (0..count).map(|_| each(reader)).collect()
}

/// As much of a text as may be sent.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(MAX_WHY)).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}
