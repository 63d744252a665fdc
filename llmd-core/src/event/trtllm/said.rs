//! One event as TensorRT-LLM says it, before it is known which of its blocks are whole, and where they lay.

use super::json::{Cursor, Value};
use crate::event::fault::{Fault, quoted};
use crate::{ExternalBlockHash, TokenId};

/// One event, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) event_id: Option<u64>,
    pub(super) rank: Option<u32>,
    pub(super) window: Option<u32>,
    pub(super) layer_group: Option<u32>,
    /// What happened, and where in the payload that stands.
    pub(super) happened: Option<(usize, Happened)>,
    /// The first value that could not be read.
    pub(super) fault: Option<Fault>,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Happened {
    /// The cache was made.
    Created,
    Removed(Vec<ExternalBlockHash>),
    Stored {
        parent: Option<ExternalBlockHash>,
        blocks: Vec<(ExternalBlockHash, Block)>,
    },
    /// A block went from one level to another; or nothing that matters to us.
    Updated {
        block: ExternalBlockHash,
        levels: Option<(u32, u32)>,
    },
}

/// A block that was stored, without its name.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) tokens: Vec<TokenId>,
    /// What besides their ids makes the tokens what they are; empty when that is nothing.
    pub(super) extra_ids: Vec<u8>,
    pub(super) level: u32,
    pub(super) cache_salt: Option<String>,
    pub(super) lora_id: Option<i64>,
    pub(super) lora_name: Option<String>,
    /// Multimodal items, each with how much of it lies in the blocks before.
    pub(super) items: Vec<(String, i64)>,
}

impl Said {
    /// Reads an event. A value that cannot be read is passed over, and is its fault.
    ///
    /// # Errors
    ///
    /// When the bytes cannot be followed any further.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        let start = cursor.at();
        let mut open = match cursor.value()? {
            Value::Object(open) => open,
            other => {
                self.fault = Some(expected(start, "an event, as an object", &other));
                cursor.rewind(start);
                return cursor.skip();
            }
        };
        while let Some(key) = cursor.key(&mut open)? {
            let start = cursor.at();
            let key = key.decoded().unwrap_or_default();
            let Err(fault) = self.field(&key, cursor) else { continue };
            self.fault.get_or_insert(fault);
            cursor.rewind(start);
            cursor.skip()?;
        }
        Ok(())
    }

    fn field(&mut self, key: &str, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        match key {
            "attention_dp_rank" => self.rank = within("attention_dp_rank", optional(cursor, number))?,
            "data" => {
                let start = cursor.at();
                self.happened = Some((start, within("data", Draft::read(cursor, start))?));
            }
            "event_id" => self.event_id = Some(within("event_id", number(cursor))?),
            "layer_group_id" => self.layer_group = within("layer_group_id", optional(cursor, number))?,
            "window_size" => self.window = within("window_size", optional(cursor, number))?,
            _ => cursor.skip()?,
        }
        Ok(())
    }
}

/// What happened, while its fields come in, in whatever order.
#[derive(Default)]
struct Draft {
    kind: Option<String>,
    block: Option<ExternalBlockHash>,
    blocks: Option<Vec<(ExternalBlockHash, Block)>>,
    hashes: Option<Vec<ExternalBlockHash>>,
    levels: Option<(u32, u32)>,
    lora_id: Option<i64>,
    lora_name: Option<String>,
    parent: Option<ExternalBlockHash>,
}

impl Draft {
    fn read(cursor: &mut Cursor<'_>, start: usize) -> Result<Happened, Fault> {
        let mut draft = Self::default();
        object(cursor, |cursor, key| {
            match key {
                "block_hash" => draft.block = Some(within("block_hash", hash(cursor))?),
                "block_hashes" => draft.hashes = Some(within("block_hashes", list(cursor, hash))?),
                "blocks" => draft.blocks = Some(within("blocks", list(cursor, Block::read))?),
                "cache_level" => draft.levels = within("cache_level", optional(cursor, levels))?,
                "lora_id" => draft.lora_id = within("lora_id", optional(cursor, number))?,
                "lora_name" => draft.lora_name = within("lora_name", optional(cursor, text))?,
                "parent_hash" => draft.parent = within("parent_hash", optional(cursor, hash))?,
                "type" => draft.kind = Some(within("type", text(cursor))?),
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        draft.finish(start)
    }

    fn finish(self, start: usize) -> Result<Happened, Fault> {
        match self.kind.as_deref() {
            Some("created") => Ok(Happened::Created),
            Some("removed") => Ok(Happened::Removed(said(self.hashes, "block_hashes", start)?)),
            Some("stored") => {
                let mut blocks = said(self.blocks, "blocks", start)?;
                for (_, block) in &mut blocks {
                    block.lora_id = block.lora_id.or(self.lora_id);
                    block.lora_name = block.lora_name.take().or_else(|| self.lora_name.clone());
                }
                Ok(Happened::Stored { parent: self.parent, blocks })
            }
            Some("updated") => {
                Ok(Happened::Updated { block: said(self.block, "block_hash", start)?, levels: self.levels })
            }
            Some(other) => Err(Fault::new(start, format!("unknown event type {}", quoted(other))).in_field("type")),
            None => Err(Fault::new(start, "type is missing").in_field("type")),
        }
    }
}

impl Block {
    /// A block and its name.
    fn read(cursor: &mut Cursor<'_>) -> Result<(ExternalBlockHash, Self), Fault> {
        let start = cursor.at();
        let (mut name, mut block) = (None, Self::default());
        object(cursor, |cursor, key| {
            match key {
                "block_hash" => name = Some(within("block_hash", hash(cursor))?),
                "cache_level" => block.level = within("cache_level", optional(cursor, number))?.unwrap_or_default(),
                "cache_salt" => block.cache_salt = within("cache_salt", optional(cursor, text))?,
                "lora_id" => block.lora_id = within("lora_id", optional(cursor, number))?,
                "lora_name" => block.lora_name = within("lora_name", optional(cursor, text))?,
                "mm_keys" => {
                    block.items = within("mm_keys", optional(cursor, |cursor| list(cursor, item)))?.unwrap_or_default();
                }
                "tokens" => within("tokens", block.read_tokens(cursor))?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok((said(name, "block_hash", start)?, block))
    }

    /// A list of tokens: objects with an id, and perhaps another number; or the ids alone.
    fn read_tokens(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        let tokens = list(cursor, |cursor| {
            let start = cursor.at();
            if let Value::Integer(id) = cursor.value()? {
                return fitting(start, id).map(|id| (id, 0));
            }
            cursor.rewind(start);
            let (mut token, mut extra) = (None, 0_u64);
            object(cursor, |cursor, key| {
                match key {
                    "token_extra_id" => extra = within("token_extra_id", optional(cursor, number))?.unwrap_or_default(),
                    "token_id" => token = Some(within("token_id", number(cursor))?),
                    _ => cursor.skip()?,
                }
                Ok(())
            })?;
            Ok((said(token, "token_id", start)?, extra))
        })?;
        if tokens.iter().any(|&(_, extra)| extra != 0) {
            self.extra_ids = tokens.iter().flat_map(|(_, extra)| extra.to_le_bytes()).collect();
        }
        self.tokens = tokens.into_iter().map(|(token, _)| token).collect();
        Ok(())
    }
}

/// A multimodal item: its name, and how much of it lies in the blocks before.
fn item(cursor: &mut Cursor<'_>) -> Result<(String, i64), Fault> {
    let start = cursor.at();
    let (mut name, mut begins) = (None, 0_u32);
    object(cursor, |cursor, key| {
        match key {
            "hash" => name = Some(text(cursor)?),
            "start_offset" => begins = optional(cursor, number)?.unwrap_or_default(),
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok((said(name, "hash", start)?, begins.into()))
}

/// What a level was, and what it is.
fn levels(cursor: &mut Cursor<'_>) -> Result<(u32, u32), Fault> {
    let start = cursor.at();
    let (mut old, mut new) = (None, None);
    object(cursor, |cursor, key| {
        match key {
            "new_value" => new = Some(number(cursor)?),
            "old_value" => old = Some(number(cursor)?),
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok((said(old, "old_value", start)?, said(new, "new_value", start)?))
}

/// Reads an object, field by field. `read` skips what it does not know.
fn object<'a>(
    cursor: &mut Cursor<'a>,
    mut read: impl FnMut(&mut Cursor<'a>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let start = cursor.at();
    let mut open = match cursor.value()? {
        Value::Object(open) => open,
        other => return Err(expected(start, "an object", &other)),
    };
    while let Some(key) = cursor.key(&mut open)? {
        read(cursor, &key.decoded()?)?;
    }
    Ok(())
}

fn list<'a, T>(
    cursor: &mut Cursor<'a>,
    mut read: impl FnMut(&mut Cursor<'a>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let start = cursor.at();
    let mut open = match cursor.value()? {
        Value::Array(open) => open,
        other => return Err(expected(start, "an array", &other)),
    };
    let mut items = Vec::new();
    while cursor.item(&mut open)? {
        items.push(read(cursor)?);
    }
    Ok(items)
}

/// A value, or null.
fn optional<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let start = cursor.at();
    if matches!(cursor.value()?, Value::Null) {
        return Ok(None);
    }
    cursor.rewind(start);
    read(cursor).map(Some)
}

/// A block's name: an integer, whose bits count and not its sign, or bytes in hexadecimal.
fn hash(cursor: &mut Cursor<'_>) -> Result<ExternalBlockHash, Fault> {
    let start = cursor.at();
    match cursor.value()? {
        Value::Integer(number) => match (u64::try_from(number), i64::try_from(number)) {
            (Ok(name), _) => Ok(ExternalBlockHash::from_int(name)),
            (_, Ok(name)) => Ok(ExternalBlockHash::from_int(name.cast_unsigned())),
            _ => Err(Fault::new(start, "expected a block hash of at most 64 bits, found a longer one")),
        },
        Value::Text(text) => {
            let bytes = hexadecimal(text.decoded()?.as_bytes());
            let bytes =
                bytes.ok_or_else(|| Fault::new(start, "expected a block hash in hexadecimal, found another text"))?;
            Ok(ExternalBlockHash::from_bytes(&bytes))
        }
        other => Err(expected(start, "a block hash, as an integer or a string", &other)),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn number<T: TryFrom<i128>>(cursor: &mut Cursor<'_>) -> Result<T, Fault> {
    let start = cursor.at();
    match cursor.value()? {
        Value::Integer(number) => fitting(start, number),
        other => Err(expected(start, "a number", &other)),
    }
}

fn fitting<T: TryFrom<i128>>(start: usize, number: i128) -> Result<T, Fault> {
    T::try_from(number).map_err(|_| {
        let (width, sign) = (8 * size_of::<T>(), if T::try_from(-1).is_ok() { "with" } else { "without" });
        Fault::new(start, format!("expected a number of {width} bits {sign} a sign, found {number}"))
    })
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, Fault> {
    let start = cursor.at();
    match cursor.value()? {
        Value::Text(text) => Ok(text.decoded()?.into_owned()),
        other => Err(expected(start, "a string", &other)),
    }
}

pub(super) fn expected(start: usize, what: &str, found: &Value<'_>) -> Fault {
    Fault::new(start, format!("expected {what}, found {}", found.what()))
}

/// The fault is in this field, unless it is known to be in one inside it.
fn within<T>(field: &'static str, read: Result<T, Fault>) -> Result<T, Fault> {
    read.map_err(|fault| if fault.field.is_empty() { fault.in_field(field) } else { fault })
}

fn said<T>(value: Option<T>, field: &'static str, start: usize) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::new(start, format!("{field} is missing")).in_field(field))
}
