//! What an engine holds, told from everything that it has ever said: with copies counted, events give a pool exactly.

use std::collections::BTreeMap;

use bytes::Bytes;
use llmd_core::event::{KvEvent, decode_batch};
use llmd_core::{Error, ErrorKind, ExternalBlockHash, GroupIdx, Medium, Result};
use serde_json::json;

use crate::index::{Block, Blocks};

type Copies = BTreeMap<(ExternalBlockHash, GroupIdx, Medium), u64>;

/// What is left after all of these batches, which begin with number 0.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] when a batch is missing or cannot be read, or more copies are removed than there were.
pub(super) fn held(batches: &[(u64, Bytes)]) -> Result<Blocks> {
    let mut copies = Copies::new();
    for (expected, (number, payload)) in (0..).zip(batches) {
        if *number != expected {
            return Err(corrupt(format!("batch {number} comes where {expected} was expected")));
        }
        let batch = decode_batch(payload)?;
        if let Some(error) = batch.errors.first() {
            return Err(corrupt(format!("batch {number} cannot be read: {error}")));
        }
        for event in batch.events {
            apply(&mut copies, event).map_err(|why| corrupt(format!("batch {number}: {why}")))?;
        }
    }
    let block = |((hash, group, medium), copies): (&(ExternalBlockHash, GroupIdx, Medium), &u64)| Block {
        hash: hash.as_int().map_or_else(|| json!(hash.to_string()), |name| json!(name)),
        group: group.0,
        medium: medium.as_str().to_owned(),
        copies: *copies,
    };
    Ok(Blocks::from(copies.iter().map(block).collect::<Vec<_>>()))
}

fn apply(copies: &mut Copies, event: KvEvent) -> Result<(), String> {
    match event {
        KvEvent::AllBlocksCleared => copies.retain(|(_, _, medium), _| *medium != Medium::Gpu),
        KvEvent::BlockStored(stored) => {
            for hash in stored.block_hashes {
                *copies.entry((hash, stored.group_idx, stored.medium)).or_default() += 1;
            }
        }
        KvEvent::BlockRemoved(removed) => {
            for hash in removed.block_hashes {
                let key = (hash, removed.group_idx, removed.medium);
                let left = copies.get(&key).and_then(|copies| copies.checked_sub(1));
                match left.ok_or_else(|| format!("block {} is removed and was not there", key.0))? {
                    0 => _ = copies.remove(&key),
                    left => _ = copies.insert(key, left),
                }
            }
        }
        other => return Err(format!("an event that is not understood: {other:?}")),
    }
    Ok(())
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> ExternalBlockHash {
        ExternalBlockHash::from_int(n)
    }

    fn stored(hashes: &[u64]) -> KvEvent {
        let mut stored = llmd_core::event::BlockStored::default();
        stored.block_hashes = hashes.iter().copied().map(hash).collect();
        KvEvent::BlockStored(stored)
    }

    fn removed(hashes: &[u64]) -> KvEvent {
        let mut removed = llmd_core::event::BlockRemoved::default();
        removed.block_hashes = hashes.iter().copied().map(hash).collect();
        KvEvent::BlockRemoved(removed)
    }

    #[test]
    fn each_removal_takes_one_copy() {
        let mut copies = Copies::new();
        for event in [stored(&[1, 2]), stored(&[2]), removed(&[2, 1])] {
            apply(&mut copies, event).unwrap();
        }
        assert_eq!(copies.into_iter().collect::<Vec<_>>(), [((hash(2), GroupIdx(0), Medium::Gpu), 1)]);
    }

    #[test]
    fn clearing_leaves_nothing_and_what_is_not_there_cannot_be_removed() {
        let mut copies = Copies::new();
        apply(&mut copies, stored(&[1])).unwrap();
        apply(&mut copies, KvEvent::AllBlocksCleared).unwrap();
        assert!(copies.is_empty());
        assert!(apply(&mut copies, removed(&[1])).unwrap_err().contains("was not there"));
    }

    #[test]
    fn a_batch_that_is_missing_is_an_error() {
        const CLEARED: &[u8] = b"\x92\xcb\x3f\xf0\0\0\0\0\0\0\x91\x91\xb0AllBlocksCleared";
        let batch = |number| (number, Bytes::from_static(CLEARED));

        assert_eq!(held(&[batch(0), batch(1)]).unwrap().len(), 0);
        let error = held(&[batch(0), batch(2)]).unwrap_err();
        assert_eq!(error.to_string(), "batch 2 comes where 1 was expected");
    }
}
