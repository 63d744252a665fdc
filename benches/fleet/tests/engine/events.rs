//! What subscribers of an engine process see: every change of its cache, and what they missed on request.

use crate::support::{Frames, counted, get, next_batch, post, replay, start, subscribe, true_cache};
use llmd_core::event::{KvEvent, decode_batch};
use serde_json::{Value, json};

fn complete(engine: &llmd_fleet::process::EngineProcess, first: u32, tokens: u32) -> Value {
    let prompt: Vec<u32> = (first..first + tokens).collect();
    post(engine, "/v1/completions", &json!({ "prompt": prompt, "max_tokens": 20 }))
}

fn seq(frames: &Frames) -> u64 {
    u64::from_be_bytes(frames[1].as_slice().try_into().unwrap())
}

#[tokio::test]
async fn published_and_replayed_events_tell_the_true_cache() {
    let engine = start(&["--num-gpu-blocks", "16"]);
    let mut live = subscribe(&engine).await;
    // A subscription takes effect some time after it was sent: until a first batch came, requests are made again.
    let mut batches = Vec::new();
    let mut prompt = 0;
    while batches.is_empty() {
        prompt += 100;
        complete(&engine, prompt, 70);
        if let Ok(first) = tokio::time::timeout(std::time::Duration::from_millis(100), next_batch(&mut live)).await {
            batches.push(first);
        }
    }
    for n in 0..12 {
        complete(&engine, 100 * (n % 5), 70);
    }
    let (next_seq, cache) = true_cache(&engine);
    while seq(batches.last().unwrap()) + 1 < next_seq {
        batches.push(next_batch(&mut live).await);
    }

    let replayed = replay(&engine, 0).await;
    assert_eq!(replayed.len() as u64, next_seq);
    assert_eq!(replayed[seq(&batches[0]) as usize..], batches, "replay and stream are the same bytes");
    assert_eq!(counted(&replayed), cache);
    assert!(cache.len() > 5 && replayed.len() > 12);
    assert_eq!(replay(&engine, next_seq - 2).await, replayed[replayed.len() - 2..]);

    let source = &get(&engine, "/kv_event_sources")["0"];
    assert_eq!(source["endpoint"], json!(engine.ready().kv_events));
    assert_eq!(source["topic"].as_str().unwrap().as_bytes(), batches[0][0]);
}

#[tokio::test]
async fn dropped_batches_are_missing_from_the_stream_alone() {
    let engine = start(&[]);
    let mut live = subscribe(&engine).await;
    post(&engine, "/debug/faults", &json!({ "drop_events": 1.0, "seed": 7 }));
    for n in 0..5 {
        complete(&engine, 100 * n, 40);
    }
    let (dropped_until, _) = true_cache(&engine);
    assert_eq!(replay(&engine, 0).await.len() as u64, dropped_until);
    let dropped = post(&engine, "/debug/faults", &json!({ "drop_events": 0.0 }));
    assert_eq!(dropped["dropped"], dropped_until);

    let mut prompt = 1000;
    let first = loop {
        complete(&engine, prompt, 40);
        prompt += 100;
        if let Ok(first) = tokio::time::timeout(std::time::Duration::from_millis(100), next_batch(&mut live)).await {
            break first;
        }
    };
    assert!(seq(&first) >= dropped_until);
    let (_, cache) = true_cache(&engine);
    assert_eq!(counted(&replay(&engine, 0).await), cache);
}

#[tokio::test]
async fn a_killed_engine_comes_back_on_its_ports_with_nothing_and_counts_from_zero() {
    let mut engine = start(&[]);
    let before = engine.ready().clone();
    complete(&engine, 100, 40);
    engine.restart().unwrap();

    let after = engine.ready();
    assert_eq!([&before.http, &before.kv_events, &before.replay], [&after.http, &after.kv_events, &after.replay]);
    assert_ne!(before.pid, after.pid);
    assert_eq!(true_cache(&engine), (0, [].into()));
    complete(&engine, 100, 40);
    assert_eq!(seq(&replay(&engine, 0).await[0]), 0);
}

#[tokio::test]
async fn a_reset_is_told_with_the_next_batch() {
    let engine = start(&[]);
    complete(&engine, 100, 40);
    assert_eq!(post(&engine, "/reset_prefix_cache", &json!({})), json!({ "success": true }));

    let view = get(&engine, "/debug/cache");
    assert_eq!((&view["events_pending"], &view["blocks"]), (&json!(1), &json!([])));
    let told = view["next_seq"].as_u64().unwrap();
    complete(&engine, 100, 40);
    let batches = replay(&engine, told).await;
    let batch = decode_batch(&batches[0][2]).unwrap();
    assert_eq!(batch.events[0], KvEvent::AllBlocksCleared);
    assert!(matches!(batch.events[1], KvEvent::BlockStored(_)));
}
