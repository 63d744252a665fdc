//! What a snapshot begins and ends with: what it is, which version, how long, and whether it is whole.

use xxhash_rust::xxh3::xxh3_128;

use super::Cursor;
use crate::hash::HashKey;
use crate::{Error, ErrorKind, Result};

const MAGIC: [u8; 8] = *b"llmdsnap";
/// Version 1 held names made by another hash, which no prompt has any more; version 2 did not say how many blocks they cover.
const VERSION: u32 = 3;
/// The largest block, in tokens, that a snapshot can tell of.
const MAX_BLOCK_SIZE: usize = 1 << 20;
const CHECKSUM: usize = 16;
/// Length and checksum, which end a snapshot of any version.
const TRAILER: usize = 8 + CHECKSUM;
const LEAST: usize = MAGIC.len() + 4 + TRAILER;

/// What holds for a whole snapshot.
#[derive(Debug)]
pub(in super::super) struct Head {
    /// The secret that its blocks are named with.
    pub(in super::super) key: HashKey,
    /// Tokens per block.
    pub(in super::super) block_size: usize,
    pub(in super::super) workers: usize,
}

/// A snapshot whose body, behind the head, `write` writes.
pub(in super::super) fn seal(head: &Head, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(head.key.as_bytes());
    out.extend_from_slice(&(head.block_size as u64).to_le_bytes());
    out.extend_from_slice(&(head.workers as u64).to_le_bytes());
    write(&mut out);
    out.extend_from_slice(&((out.len() + TRAILER) as u64).to_le_bytes());
    out.extend_from_slice(&xxh3_128(&out).to_be_bytes());
    out
}

/// The head of a snapshot, and its workers.
pub(in super::super) fn open(snapshot: &[u8]) -> Result<(Head, Cursor<'_>)> {
    let corrupt = |what: String| Error::new(ErrorKind::Corrupt, what);
    let len = snapshot.len();
    if len < LEAST {
        return Err(corrupt(format!("snapshot of {len} bytes is cut off: expected at least {LEAST}")));
    }
    if !snapshot.starts_with(&MAGIC) {
        let found = snapshot[..MAGIC.len()].escape_ascii();
        return Err(corrupt(format!("no snapshot: begins with {found}; expected {}", MAGIC.escape_ascii())));
    }
    let (whole, checksum) = snapshot.split_at(len - CHECKSUM);
    let (version_and_body, said) = whole[MAGIC.len()..].split_at(whole.len() - MAGIC.len() - 8);
    let said = Cursor::new(said).u64("length")?;
    if said != len as u64 {
        return Err(corrupt(format!("snapshot of {len} bytes is cut off or damaged: its end says {said} bytes")));
    }
    if checksum != xxh3_128(whole).to_be_bytes() {
        return Err(corrupt(format!("snapshot of {len} bytes is damaged: its checksum is that of other bytes")));
    }
    let mut body = Cursor::new(version_and_body);
    match body.u32("version")? {
        VERSION => {}
        0 => return Err(corrupt(format!("snapshot of version 0; expected {VERSION}"))),
        1 => {
            let message = format!("snapshot of version 1 names blocks by another hash; expected {VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        2 => {
            let message = format!("snapshot of version 2 does not say what names cover; expected {VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        newer => {
            let message = format!("snapshot of version {newer} is newer than this program; expected {VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    let key = HashKey::from_bytes(body.bytes("key")?);
    let block_size = body.u64("block size")?;
    let block_size = usize::try_from(block_size).ok().filter(|size| (1..=MAX_BLOCK_SIZE).contains(size));
    let block_size = block_size.ok_or_else(|| body.corrupt("a block size that no block has"))?;
    let workers = body.count(super::Standing::LEAST, "number of workers")?;
    Ok((Head { key, block_size, workers }, body))
}
