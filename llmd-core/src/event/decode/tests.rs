//! What batches may look like, and what becomes of those that do not.

mod accepted;
mod refused;

use super::super::{BlockRemoved, KvEvent};
use super::decode_batch;
use crate::ExternalBlockHash;

/// `[1.0, events, 3]`, with each event as it stands; the first begins at [`FIRST_EVENT`].
fn batch<E: AsRef<[u8]>>(events: &[E]) -> Vec<u8> {
    let count = u8::try_from(events.len()).ok().filter(|count| *count < 16).expect("a short array");
    let mut payload = b"\x93\xca\x3f\x80\x00\x00".to_vec();
    payload.push(0x90 | count);
    events.iter().for_each(|event| payload.extend_from_slice(event.as_ref()));
    payload.push(3);
    payload
}

const FIRST_EVENT: usize = 7;

/// A map of `len` keys, written one after the other.
fn map(len: u8, entries: &[&[u8]]) -> Vec<u8> {
    [&[0x80 | len], &entries.concat()[..]].concat()
}

const REMOVED: &[u8] = b"\xa4type\xacBlockRemoved";
const STORED: &[u8] = b"\xa4type\xabBlockStored";
const HASHES: &[u8] = b"\xacblock_hashes\x91\x05";
const TOKENS: &[u8] = b"\xa9token_ids\x92\x01\x02";
const SIZE: &[u8] = b"\xaablock_size\x02";

/// A stored event whose fifth key is `entry`, and where that begins in it.
fn stored_with(entry: &[u8]) -> (Vec<u8>, usize) {
    let event = map(5, &[STORED, HASHES, TOKENS, SIZE, entry]);
    let place = event.len() - entry.len();
    (event, place)
}

/// A removal of the block 5, and the event that it is.
fn good() -> (Vec<u8>, KvEvent) {
    let event = BlockRemoved { block_hashes: vec![ExternalBlockHash::from_int(5)], ..BlockRemoved::default() };
    (map(2, &[REMOVED, HASHES]), KvEvent::BlockRemoved(event))
}

fn only_event(event: &[u8]) -> KvEvent {
    let mut batch = decode_batch(&batch(&[event])).unwrap();
    assert_eq!(batch.errors, []);
    assert_eq!(batch.events.len(), 1);
    batch.events.remove(0)
}
