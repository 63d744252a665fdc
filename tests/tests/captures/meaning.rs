//! What events mean, written down field by field: once from what we decode, once from what the engine's own decoder
//! reads, in either encoding, with every default filled in.

use llmd_core::ExternalBlockHash;
use llmd_core::event::{EventExtraKey, KvEvent, SpecKind};
use serde_json::{Map, Value, json};

use crate::fixtures::{array, text};

/// The events that we decoded.
pub(crate) fn of(events: &[KvEvent]) -> Vec<Value> {
    events.iter().map(event).collect()
}

/// The events that the engine's own decoder reads, where an array has the fields `stored` and `removed`.
pub(crate) fn said(events: &Value, stored: &[&str], removed: &[&str]) -> Vec<Value> {
    let events = array(events).iter().map(|event| match event {
        Value::Array(values) => said_event(&by_name(values, stored, removed)),
        Value::Object(fields) => said_event(fields),
        other => panic!("{other} is no event"),
    });
    events.collect()
}

fn event(event: &KvEvent) -> Value {
    match event {
        KvEvent::AllBlocksCleared => json!({"type": "AllBlocksCleared"}),
        KvEvent::BlockRemoved(removed) => json!({
            "type": "BlockRemoved",
            "block_hashes": names(&removed.block_hashes),
            "medium": removed.medium.as_str(),
            "group_idx": removed.group_idx.0,
            "locality": format!("{:?}", removed.locality),
            "ownership": removed.ownership,
        }),
        KvEvent::BlockStored(stored) => json!({
            "type": "BlockStored",
            "block_hashes": names(&stored.block_hashes),
            "parent_block_hash": stored.parent_block_hash.as_ref().map(ToString::to_string),
            "token_ids": stored.token_ids,
            "block_size": stored.block_size,
            "lora_id": stored.lora_id,
            "lora_name": stored.lora_name,
            "medium": stored.medium.as_str(),
            "locality": format!("{:?}", stored.locality),
            "ownership": stored.ownership,
            "cache_salt": stored.cache_salt,
            "extra_keys": stored.extra_keys.iter().map(|keys| extra_keys(keys)).collect::<Vec<_>>(),
            "group_idx": stored.group_idx.0,
            "spec_kind": format!("{:?}", stored.spec_kind),
            "sliding_window": stored.sliding_window,
            "session_id": stored.session_id,
        }),
        other => panic!("{other:?} is not known here"),
    }
}

fn names(hashes: &[ExternalBlockHash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}

fn extra_keys(keys: &[EventExtraKey]) -> Vec<Value> {
    let key = |key: &EventExtraKey| match key {
        EventExtraKey::Digest(digest) => json!({"$hex": hex::encode(digest)}),
        EventExtraKey::Multimodal { identifier, offset } => json!([identifier, offset]),
        EventExtraKey::Text(text) => json!(text),
        other => panic!("{other:?} is not known here"),
    };
    keys.iter().map(key).collect()
}

fn by_name(values: &[Value], stored: &[&str], removed: &[&str]) -> Map<String, Value> {
    let names = match text(&values[0]) {
        "BlockStored" => stored,
        "BlockRemoved" => removed,
        _ => &[],
    };
    assert_eq!(names.len(), values.len() - 1, "every value has a name");
    let names = std::iter::once("type").chain(names.iter().copied()).map(Into::into);
    names.zip(values.iter().cloned()).collect()
}

fn said_event(fields: &Map<String, Value>) -> Value {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let or = |name: &str, default: Value| Some(field(name)).filter(|value| !value.is_null()).unwrap_or(default);
    let medium = match or("medium", json!("GPU")).as_str() {
        Some("CPU_PINNED") => json!("CPU"),
        Some("DISK" | "EXTERNAL") => json!("STORAGE"),
        _ => or("medium", json!("GPU")),
    };
    let locality = if field("locality") == "REMOTE" { "Remote" } else { "Local" };
    match text(&fields["type"]) {
        "BlockRemoved" => json!({
            "type": "BlockRemoved",
            "block_hashes": array(&field("block_hashes")).iter().map(said_name).collect::<Vec<_>>(),
            "medium": medium,
            "group_idx": or("group_idx", json!(0)),
            "locality": locality,
            "ownership": field("ownership"),
        }),
        "BlockStored" => json!({
            "type": "BlockStored",
            "block_hashes": array(&field("block_hashes")).iter().map(said_name).collect::<Vec<_>>(),
            "parent_block_hash": said_name(&field("parent_block_hash")),
            "token_ids": field("token_ids"),
            "block_size": field("block_size"),
            "lora_id": field("lora_id"),
            "lora_name": field("lora_name"),
            "medium": medium,
            "locality": locality,
            "ownership": field("ownership"),
            "cache_salt": field("cache_salt"),
            "extra_keys": array(&field("extra_keys")).iter().map(array).collect::<Vec<_>>(),
            "group_idx": or("group_idx", json!(0)),
            "spec_kind": format!("{:?}", SpecKind::from_wire(text(&or("kv_cache_spec_kind", json!("full_attention"))))),
            "sliding_window": field("kv_cache_spec_sliding_window"),
            "session_id": field("session_id"),
        }),
        kind => json!({"type": kind}),
    }
}

/// A name as we show it: an integer without its sign, or bytes.
fn said_name(name: &Value) -> Option<String> {
    match name {
        Value::Null => None,
        Value::Number(number) => {
            let bits = number.as_u64().or_else(|| number.as_i64().map(i64::cast_unsigned));
            Some(bits.expect("a name has 64 bits").to_string())
        }
        bytes => Some(text(&bytes["$hex"]).into()),
    }
}
