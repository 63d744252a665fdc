//! What clients of an engine process see: vLLM's answers, and clear refusals.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use crate::support::{ask, get, metric, post, send, start, until};
use llmd_fleet::prompt::Words;
use serde_json::{Value, json};

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tokenizer/tokenizer.json");

fn text(id: u64, tokens: usize) -> String {
    Words::load(TOKENIZER).unwrap().text_for(id, tokens)
}

/// The events of a streamed answer, with what differs each time replaced.
fn events(answer: &str) -> Vec<String> {
    let plain = |event: &str| {
        let Ok(json) = serde_json::from_str::<Value>(event) else { return event.to_owned() };
        let mut event = event.to_owned();
        event = event.replace(json["id"].as_str().unwrap(), "ID");
        event = event.replace(&json["created"].to_string(), "TIME");
        for path in ["/choices/0/text", "/choices/0/delta/content"] {
            if let Some(text) = json.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()) {
                event = event.replace(text, "TEXT");
            }
        }
        event
    };
    answer.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(plain).collect()
}

#[test]
fn a_completion_streams_in_vllms_chunks() {
    let engine = start(&[]);
    let body = json!({
        "model": "tiny", "prompt": text(1, 40), "max_tokens": 2, "stream": true, "stream_options": { "include_usage": true },
    });
    let (status, answer) = ask(&engine, "POST", "/v1/completions", &body.to_string());

    assert_eq!(status, 200);
    let head = r#"{"id":"ID","object":"text_completion","created":TIME,"model":"tiny","choices":["#;
    let tail = r#""stop_reason":null,"prompt_token_ids":null,"token_ids":null}]}"#;
    assert_eq!(
        events(&answer),
        [
            format!(r#"{head}{{"index":0,"text":"TEXT","logprobs":null,"finish_reason":null,{tail}"#),
            format!(r#"{head}{{"index":0,"text":"TEXT","logprobs":null,"finish_reason":"length",{tail}"#),
            format!(
                r#"{head}],"usage":{{"prompt_tokens":40,"total_tokens":42,"completion_tokens":2,"prompt_tokens_details":{{"cached_tokens":0}}}}}}"#
            ),
            "[DONE]".to_owned(),
        ]
    );
}

#[test]
fn a_chat_streams_in_vllms_chunks() {
    let engine = start(&[]);
    let body = json!({
        "model": "tiny", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 2, "stream": true,
    });
    let (_, answer) = ask(&engine, "POST", "/v1/chat/completions", &body.to_string());

    let head = r#"{"id":"ID","object":"chat.completion.chunk","created":TIME,"model":"tiny","choices":[{"index":0,"#;
    assert_eq!(
        events(&answer),
        [
            format!(
                r#"{head}"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}],"prompt_token_ids":null}}"#
            ),
            format!(r#"{head}"delta":{{"content":"TEXT"}},"logprobs":null,"finish_reason":null,"token_ids":null}}]}}"#),
            format!(
                r#"{head}"delta":{{"content":"TEXT"}},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}}]}}"#
            ),
            "[DONE]".to_owned(),
        ]
    );
}

#[test]
fn a_repeated_prompt_is_taken_from_the_cache_and_answered_alike() {
    let engine = start(&[]);
    let body = json!({ "prompt": text(1, 40), "max_tokens": 3, "return_token_ids": true });
    let first = post(&engine, "/v1/completions", &body);
    let again = post(&engine, "/v1/completions", &body);
    let salted =
        post(&engine, "/v1/completions", &json!({ "prompt": text(1, 40), "max_tokens": 3, "cache_salt": "tenant" }));

    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert_eq!([&first, &again, &salted].map(cached), [0, 32, 0]);
    assert_eq!(first["choices"][0]["text"], again["choices"][0]["text"]);
    assert_eq!(first["choices"][0]["prompt_token_ids"].as_array().unwrap().len(), 40);
    assert_eq!(first["choices"][0]["token_ids"].as_array().unwrap().len(), 3);
    assert_eq!(metric(&engine, "vllm:prefix_cache_hits_total"), 32.0);
}

#[test]
fn tokens_are_a_prompt_too_and_so_is_a_list_of_one() {
    let engine = start(&[]);
    for prompt in [json!([5, 6, 7]), json!([[5, 6, 7]]), json!(["abc def"])] {
        let answer = post(&engine, "/v1/completions", &json!({ "prompt": prompt, "max_tokens": 1 }));
        assert_eq!(answer["usage"]["completion_tokens"], 1, "{prompt}");
    }
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let engine = start(&[]);
    for (body, code, param, says) in [
        (json!({ "prompt": "a", "model": "gpt" }), 404, "model", "`gpt`"),
        (json!({ "prompt": "a", "max_tokens": 0 }), 400, "max_tokens", "got 0"),
        (json!({ "prompt": "a", "max_tokens": 5000 }), 400, "max_tokens", "5000"),
        (json!({ "prompt": vec![5; 2000] }), 400, "max_tokens", "2000"),
        (json!({ "prompt": [999_999] }), 400, "prompt", "999999"),
        (json!({ "prompt": [] }), 400, "prompt", "no token"),
        (json!({ "prompt": ["a", "b"] }), 400, "prompt", "2 prompts"),
        (json!({ "max_tokens": 1 }), 400, "prompt", "no prompt"),
        (json!({ "prompt": "a", "n": 3 }), 400, "n", "n is 3"),
        (json!({ "prompt": "a", "echo": true }), 400, "echo", "echo"),
        (json!({ "prompt": "a", "stream_options": {} }), 400, "stream_options", "stream=True"),
        (json!({ "prompt": { "a": 1 } }), 400, "body", "Prompt"),
    ] {
        let (status, answer) = ask(&engine, "POST", "/v1/completions", &body.to_string());
        let error = serde_json::from_str::<Value>(&answer).unwrap()["error"].clone();
        assert_eq!((status, error["param"].as_str()), (code, Some(param)), "{body}: {answer}");
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains(says), "{body}: {answer}");
    }
    assert_eq!(ask(&engine, "POST", "/v1/completions", "{\"prompt\":").0, 400);
    assert_eq!(ask(&engine, "GET", "/nowhere", "").0, 404);
    assert_eq!(ask(&engine, "POST", "/debug/faults", "{\"drop_events\": 2}").0, 400);
    assert_eq!(ask(&engine, "POST", "/debug/pause", "{\"minutes\": 2}").0, 400);
}

#[test]
fn the_tokens_of_a_request_are_told_from_its_own_body() {
    let engine = start(&[]);
    let tell = |body: &Value| post(&engine, "/tokenize", body);
    let completion = json!({ "model": "tiny", "prompt": text(1, 40), "max_tokens": 1, "return_token_ids": true });
    let chat =
        json!({ "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 1, "return_token_ids": true });

    for (path, body) in [("/v1/completions", &completion), ("/v1/chat/completions", &chat)] {
        let (told, answer) = (tell(body), post(&engine, path, body));
        let used = answer.pointer("/choices/0/prompt_token_ids").or_else(|| answer.get("prompt_token_ids")).unwrap();
        assert_eq!((&told["tokens"], &told["count"]), (used, &answer["usage"]["prompt_tokens"]), "{path}");
        assert!(told["max_model_len"].is_u64() && told["token_strs"].is_null(), "{told}");
    }
    for (body, code, param) in [
        (json!({ "model": "nobody", "prompt": "x" }), 404, "model"),
        (json!({ "prompt": [1, 2] }), 400, "prompt"),
        (json!({ "model": "tiny" }), 400, "prompt"),
    ] {
        let (status, answer) = ask(&engine, "POST", "/tokenize", &body.to_string());
        let error = serde_json::from_str::<Value>(&answer).unwrap()["error"].clone();
        assert_eq!((status, error["param"].as_str()), (code, Some(param)), "{body}: {answer}");
    }
}

#[test]
fn an_adapter_is_a_model_with_a_cache_of_its_own() {
    let engine = start(&["--lora", "a=/adapters/a", "--lora", "b"]);
    let names: Vec<_> =
        get(&engine, "/v1/models")["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(names, ["tiny", "a", "b"]);

    for model in ["tiny", "a", "b"] {
        let answer =
            post(&engine, "/v1/completions", &json!({ "model": model, "prompt": text(1, 40), "max_tokens": 1 }));
        assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0, "{model}");
        assert_eq!(answer["model"], model);
    }
}

#[test]
fn a_client_that_goes_away_ends_its_request() {
    let engine = start(&["--speed", "2"]);
    for stream in [true, false] {
        let body = json!({ "prompt": text(1, 40), "max_tokens": 900, "stream": stream }).to_string();
        let connection = send(&engine, "POST", "/v1/completions", &body);
        if stream {
            let mut lines = BufReader::new(&connection).lines();
            assert!(lines.any(|line| line.unwrap().starts_with("data: ")));
        } else {
            until("the request runs", || metric(&engine, "vllm:num_requests_running") == 1.0);
        }
        drop(connection);
        until("the request ends", || metric(&engine, "vllm:num_requests_running") == 0.0);
    }
    let aborted = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\"";
    assert_eq!(metric(&engine, aborted), 2.0);
    assert_eq!(metric(&engine, "vllm:kv_cache_usage_perc"), 0.0);
}

#[test]
fn a_paused_engine_computes_nothing_and_answers_questions() {
    let engine = start(&[]);
    post(&engine, "/debug/pause", &json!({ "seconds": 3600 }));
    let body = json!({ "prompt": text(1, 40), "max_tokens": 2 }).to_string();
    let waiting = send(&engine, "POST", "/v1/completions", &body);

    until("the request waits", || metric(&engine, "vllm:num_requests_waiting") == 1.0);
    assert_eq!(ask(&engine, "GET", "/health", "").0, 200);
    assert_eq!(metric(&engine, "vllm:generation_tokens_total"), 0.0);
    post(&engine, "/debug/pause", &json!({ "seconds": 0 }));
    assert!(BufReader::new(waiting).lines().any(|line| line.unwrap().contains("\"completion_tokens\":2")));
}

#[test]
fn an_engine_ends_well_when_asked_to() {
    assert!(start(&[]).stop().unwrap().success());
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let engine = start(&[]);
    let port = engine.ready().http.rsplit(':').next().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_llmd-engine")).args(["--port", port]).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(&format!("port {port} is in use")) && log.contains("--port"), "{log}");
}
