//! KV events in the bytes that vLLM 0.32 publishes.
//!
//! A batch is an array of timestamp, events and data-parallel rank; an event is a map with a `type`. The order of keys,
//! and which of them are left out, are those of vLLM's encoder, so that equal content is equal bytes.

use llmd_core::hash::Sha256Cbor;
use rmp::encode;

use crate::model::{CacheEvent, Digest, StoredBlocks};

/// How block hashes are published.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "vLLM knows these two")]
pub enum HashForm {
    /// The whole digest, as with `VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES=0`.
    Digest,
    /// The last 8 bytes as a big-endian integer, vLLM's default.
    #[default]
    Int,
}

/// The payload of one message.
pub fn encode_batch(timestamp: f64, events: &[CacheEvent], rank: u32, form: HashForm) -> Vec<u8> {
    let mut batch = Batch { bytes: Vec::with_capacity(256), form };
    batch.array(3);
    batch.float(timestamp);
    batch.array(events.len());
    for event in events {
        batch.event(event);
    }
    batch.uint(rank.into());
    batch.bytes
}

const MEDIUM: &str = "GPU";
const GROUP: u64 = 0;
const IN_MEMORY: &str = "memory takes every byte";

struct Batch {
    bytes: Vec<u8>,
    form: HashForm,
}

impl Batch {
    fn event(&mut self, event: &CacheEvent) {
        match event {
            CacheEvent::Cleared => {
                self.map(1);
                self.text_at("type", "AllBlocksCleared");
            }
            CacheEvent::Removed(digest) => self.removed(digest),
            CacheEvent::Stored(stored) => self.stored(stored),
        }
    }

    fn removed(&mut self, digest: &Digest) {
        self.map(4);
        self.text_at("type", "BlockRemoved");
        self.text("block_hashes");
        self.array(1);
        self.hash(digest);
        self.text_at("medium", MEDIUM);
        self.text("group_idx");
        self.uint(GROUP);
    }

    fn stored(&mut self, stored: &StoredBlocks) {
        self.map(11 + usize::from(stored.session_id.is_some()));
        self.text_at("type", "BlockStored");
        self.text("block_hashes");
        self.array(stored.hashes.len());
        stored.hashes.iter().for_each(|digest| self.hash(digest));
        self.text("parent_block_hash");
        match &stored.parent {
            Some(parent) => self.hash(parent),
            None => self.nil(),
        }
        self.text("token_ids");
        self.array(stored.tokens.len());
        stored.tokens.iter().for_each(|&token| self.uint(token.into()));
        self.text("block_size");
        self.uint(stored.block_size as u64);
        let adapter = stored.adapter.as_ref();
        self.text("lora_id");
        match adapter {
            Some(adapter) => self.int(adapter.id),
            None => self.nil(),
        }
        self.text_at("medium", MEDIUM);
        self.text("lora_name");
        match adapter {
            Some(adapter) => self.text(&adapter.lora.name),
            None => self.nil(),
        }
        self.text("extra_keys");
        self.extra_keys(stored);
        self.text("group_idx");
        self.uint(GROUP);
        self.text_at("kv_cache_spec_kind", "full_attention");
        if let Some(session) = &stored.session_id {
            self.text_at("session_id", session);
        }
    }

    /// One entry per block: nil, or the adapter's name and, for the first block of a prompt, the salt.
    fn extra_keys(&mut self, stored: &StoredBlocks) {
        self.array(stored.hashes.len());
        let adapter = stored.adapter.as_ref().map(|adapter| adapter.lora.name.as_str());
        for block in 0..stored.hashes.len() {
            let salt = stored.cache_salt.as_deref().filter(|_| block == 0);
            match usize::from(adapter.is_some()) + usize::from(salt.is_some()) {
                0 => self.nil(),
                keys => {
                    self.array(keys);
                    adapter.into_iter().chain(salt).for_each(|key| self.text(key));
                }
            }
        }
    }

    fn hash(&mut self, digest: &Digest) {
        match self.form {
            HashForm::Digest => encode::write_bin(&mut self.bytes, digest).expect(IN_MEMORY),
            HashForm::Int => self.uint(Sha256Cbor::event_int(digest)),
        }
    }

    fn text_at(&mut self, key: &str, value: &str) {
        self.text(key);
        self.text(value);
    }

    fn text(&mut self, text: &str) {
        encode::write_str(&mut self.bytes, text).expect(IN_MEMORY);
    }

    fn uint(&mut self, value: u64) {
        encode::write_uint(&mut self.bytes, value).expect(IN_MEMORY);
    }

    fn int(&mut self, value: i64) {
        encode::write_sint(&mut self.bytes, value).expect(IN_MEMORY);
    }

    fn float(&mut self, value: f64) {
        encode::write_f64(&mut self.bytes, value).expect(IN_MEMORY);
    }

    fn nil(&mut self) {
        encode::write_nil(&mut self.bytes).expect(IN_MEMORY);
    }

    fn array(&mut self, len: usize) {
        encode::write_array_len(&mut self.bytes, len as u32).expect(IN_MEMORY);
    }

    fn map(&mut self, len: usize) {
        encode::write_map_len(&mut self.bytes, len as u32).expect(IN_MEMORY);
    }
}
