//! Two engines: one prefills, the other fetches what that computed, checks every byte, and decodes.

use serde_json::{Value, json};

use crate::support::{ask, counted, metric, post, replay, start, true_cache, until};

/// 70 tokens: four full blocks, and a tail that every engine computes itself.
fn prompt() -> Vec<u32> {
    (1..71).collect()
}

fn prefilled(engine: &llmd_fleet::process::EngineProcess) -> Value {
    let params = json!({ "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": null });
    let body = json!({ "prompt": prompt(), "max_tokens": 1, "kv_transfer_params": params });
    post(engine, "/v1/completions", &body)["kv_transfer_params"].take()
}

fn decoded(engine: &llmd_fleet::process::EngineProcess, params: &Value) -> Value {
    let body = json!({ "prompt": prompt(), "max_tokens": 3, "kv_transfer_params": params });
    post(engine, "/v1/completions", &body)
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

const BYTES: [&str; 2] = ["--kv-block-bytes", "4096"];

#[tokio::test]
async fn what_one_engine_prefilled_another_fetches_checks_and_decodes() {
    let (prefill, decode) = (start(&BYTES), start(&BYTES));
    let params = prefilled(&prefill);
    assert_eq!((&params["do_remote_prefill"], &params["remote_num_tokens"]), (&json!(true), &json!(64)));
    assert_eq!(params["remote_block_ids"][0].as_array().unwrap().len(), 4);
    assert_eq!(params["remote_host"], "127.0.0.1");
    assert!(metric(&prefill, "vllm:kv_cache_usage_perc") > 0.0, "they are kept");

    let answer = decoded(&decode, &params);
    assert_eq!((cached(&answer), &answer["usage"]["completion_tokens"]), (64, &json!(3)));
    assert_eq!(metric(&decode, "llmd:kv_blocks_verified_total"), 4.0);
    assert_eq!(metric(&decode, "llmd:kv_blocks_corrupt_served_total"), 0.0);
    assert_eq!(metric(&decode, "llmd:kv_bytes_moved_total"), 4.0 * 4096.0);
    until("the lease ends, and the blocks are free", || metric(&prefill, "vllm:kv_cache_usage_perc") == 0.0);
    let (next, cache) = true_cache(&decode);
    let batches = replay(&decode, 0).await;
    assert_eq!((batches.len() as u64, counted(&batches)), (next, cache), "and every event says so");

    let again = decoded(&decode, &prefilled(&prefill));
    assert_eq!(cached(&again), 64, "from its own cache");
    assert_eq!(metric(&decode, "llmd:kv_blocks_verified_total"), 4.0);
    until("what is not needed is given back", || metric(&prefill, "vllm:kv_cache_usage_perc") == 0.0);
}

#[test]
fn what_cannot_be_fetched_is_computed() {
    let (mut prefill, decode) = (start(&BYTES), start(&BYTES));
    let params = prefilled(&prefill);
    prefill.kill();
    assert_eq!(cached(&decoded(&decode, &params)), 0);
    assert_eq!(metric(&decode, "llmd:kv_blocks_recomputed_total"), 4.0);
    let other = json!({ "do_remote_prefill": true, "grant": "no grant" });
    assert_eq!(cached(&decoded(&decode, &other)), 64, "its own by now");
    until("no block is lost", || metric(&decode, "vllm:kv_cache_usage_perc") == 0.0);
}

#[test]
fn an_engine_without_bytes_does_all_itself() {
    let engine = start(&[]);
    assert_eq!(prefilled(&engine), Value::Null);
    let (status, metrics) = ask(&engine, "GET", "/metrics", "");
    assert!(status == 200 && !metrics.contains("llmd:kv_"));
}
