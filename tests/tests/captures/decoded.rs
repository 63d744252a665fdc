//! Every recorded batch decodes, without an error, to what the engine's own decoder reads in it.

use llmd_core::event::{KvEvent, decode_batch};
use serde_json::Value;

use crate::fixtures::{array, bytes, json, messages, text};
use crate::meaning;

/// How many events there are, when all is as the engine's decoder says.
fn agree(name: &str, payload: &[u8], decoded: &Value, stored: &[&str], removed: &[&str]) -> usize {
    let batch = decode_batch(payload).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(batch.errors, [], "{name}");
    // The decoded form went through a decimal number, and so may be off by a bit; the payload has it exactly.
    assert_eq!(payload[..10], [&b"\x93\xcb"[..], &batch.timestamp.to_be_bytes()].concat(), "{name}");
    assert!((batch.timestamp - decoded[0].as_f64().expect("a timestamp")).abs() < 1e-6, "{name}");
    assert_eq!(batch.data_parallel_rank.map(u64::from), decoded[2].as_u64(), "{name}");
    let (ours, theirs) = (meaning::of(&batch.events), meaning::said(&decoded[1], stored, removed));
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (event, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "{name}, event {event}");
    }
    ours.len()
}

#[test]
fn every_recorded_message_decodes_to_what_it_says() {
    let messages = messages();
    let events: usize =
        messages.iter().map(|message| agree(&message.name, &message.payload, &message.decoded, &[], &[])).sum();
    assert!(messages.len() > 100 && events > 400, "{events} events in {} messages", messages.len());
}

#[test]
fn the_recordings_hold_every_kind_of_event_and_every_field() {
    let (mut removed, mut cleared, mut stored) = (0, 0, Vec::new());
    for message in messages() {
        for event in decode_batch(&message.payload).unwrap().events {
            match event {
                KvEvent::AllBlocksCleared => cleared += 1,
                KvEvent::BlockRemoved(_) => removed += 1,
                KvEvent::BlockStored(event) => stored.push(event),
                other => panic!("{other:?} is not known here"),
            }
        }
    }
    assert!(removed > 0 && cleared > 0);
    assert!(stored.iter().any(|event| event.block_hashes.iter().any(|name| name.as_bytes().is_some())));
    assert!(stored.iter().any(|event| event.token_ids.is_empty()), "hash-only events");
    assert!(stored.iter().any(|event| event.lora_name.is_some() && event.lora_id.is_some()));
    assert!(stored.iter().any(|event| event.extra_keys.iter().any(|keys| keys.len() > 1)));
    assert!(stored.iter().any(|event| event.session_id.is_some()));
    assert!(stored.iter().any(|event| event.ownership.is_some()));
    for medium in llmd_core::Medium::ALL {
        assert!(stored.iter().any(|event| event.medium == medium), "{medium}");
    }
}

#[test]
fn every_release_of_vllm_means_the_same() {
    let releases = json("vllm-0.32/wire_versions.json");
    let releases = releases.as_object().expect("releases by version");
    let mut events = 0;
    for (version, release) in releases {
        let names = |field: &str| array(&release[field]).iter().map(text).collect::<Vec<_>>();
        let cases = release["cases"].as_object().expect("cases by name");
        assert!(cases.len() >= 21, "{version} has {} cases", cases.len());
        for (case, said) in cases {
            let (name, payload) = (format!("vLLM {version}, {case}"), bytes(&said["hex"]));
            events += agree(&name, &payload, &said["decoded"], &names("stored_fields"), &names("removed_fields"));
        }
    }
    assert_eq!(releases.len(), 24);
    assert!(events > 24 * 21, "{events}");
}

#[test]
fn sglang_s_batches_decode_to_what_they_say() {
    let cases = json("sglang-0.5.23/sglang_wire.json");
    let cases = cases["cases"].as_object().expect("cases by name");
    for (case, said) in cases {
        assert_eq!(agree(case, &bytes(&said["hex"]), &said["decoded"], &[], &[]), 1, "{case}");
    }
    assert_eq!(cases.len(), 6);
}
