//! The bytes of a snapshot: damaged ones are refused, and what is restored is what is kept again.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use llmd_core::event::decode_batch;
use llmd_core::feed::Feed;
use llmd_core::hash::HashKey;
use llmd_core::index::IndexSettings;
use xxhash_rust::xxh3::xxh3_128;

#[derive(Arbitrary, Debug)]
struct Input {
    bytes: Bytes,
    /// Whether length and checksum are made to fit, so that what lies between is looked at.
    sealed: bool,
}

#[derive(Arbitrary, Debug)]
enum Bytes {
    Any(Vec<u8>),
    /// Those of a real snapshot, with other bytes in places, and perhaps cut off.
    Changed {
        changes: Vec<(u16, u8)>,
        cut: Option<u16>,
    },
}

/// Bytes of the length and the checksum at the end.
const SEAL: usize = 24;

static REAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let feed = Feed::new(settings()).expect("blocks have tokens");
    let stored = b"\x92\x01\x92\
        \x85\xa4type\xabBlockStored\xacblock_hashes\x92\x05\xc4\x03abc\xa9token_ids\x94\x01\x02\x03\x04\xaablock_size\x02\
            \xaaextra_keys\x92\x93\xa1a\x92\xa1m\xff\xc4\x01x\xc0\
        \x85\xa4type\xabBlockStored\xacblock_hashes\x91\x06\xb1parent_block_hash\x09\xa9token_ids\x92\x01\x02\
            \xaablock_size\x02";
    // Blocks twice as large as the others.
    let wide = b"\x92\x03\x91\
        \x85\xa4type\xabBlockStored\xacblock_hashes\x92\x07\x08\xa9token_ids\x98\x01\x02\x03\x04\x05\x06\x07\x08\
            \xaablock_size\x04\xa9group_idx\x01";
    let more = b"\x92\x02\x92\
        \x85\xa4type\xabBlockStored\xacblock_hashes\x91\x05\xa9token_ids\x90\xaablock_size\x00\xa6medium\xa3CPU\
        \x82\xa4type\xacBlockRemoved\xacblock_hashes\x91\xc4\x03abc";
    for (seq, payload) in [&stored[..], wide, more].into_iter().enumerate() {
        assert_eq!(decode_batch(payload).expect("a batch").errors, []);
        feed.apply(Duration::ZERO, "worker", Some(seq as u64), payload).expect("it is applied");
        feed.apply(Duration::ZERO, "other", None, payload).expect("it is applied");
    }
    feed.snapshot()
});

fn settings() -> IndexSettings {
    let settings = IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]));
    settings.with_max_blocks(64).with_max_orphans(16).with_max_remembered(16)
}

impl Input {
    fn snapshot(self) -> Vec<u8> {
        let mut bytes = match self.bytes {
            Bytes::Any(bytes) => [&REAL[..12], &bytes].concat(),
            Bytes::Changed { changes, cut } => {
                let mut bytes = REAL.clone();
                for (place, byte) in changes {
                    let len = bytes.len();
                    bytes[usize::from(place) % len] = byte;
                }
                bytes.truncate(cut.map_or(bytes.len(), usize::from));
                bytes.truncate(bytes.len().saturating_sub(if self.sealed { SEAL } else { 0 }));
                bytes
            }
        };
        if self.sealed {
            let whole = bytes.len() + SEAL;
            bytes.extend((whole as u64).to_le_bytes());
            bytes.extend(xxh3_128(&bytes).to_be_bytes());
        }
        bytes
    }
}

fuzz_target!(|input: Input| {
    let Ok(restored) = Feed::restore(settings(), &input.snapshot()) else { return };
    let kept = restored.snapshot();
    let again = Feed::restore(*restored.settings(), &kept).expect("what is kept can be restored");
    let residents = |feed: &Feed| {
        let mut all: Vec<_> = feed.names().into_iter().map(|(_, name)| (feed.residents(&name), name)).collect();
        for (residents, _) in &mut all {
            residents.as_mut().expect("the worker is known").sort_unstable();
        }
        let mut all: Vec<_> = all.into_iter().map(|(residents, name)| (name, residents.ok())).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(residents(&again), residents(&restored));
    assert_eq!(again.snapshot().len(), kept.len());
});
