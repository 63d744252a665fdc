//! What a decision says about itself, word for word.

use std::time::Duration;

use expect_test::{Expect, expect};
use llmd_core::WorkerId;
use llmd_core::protocol::ROLE_LABEL;
use llmd_routing::testing::{Chance, metrics, request};
use llmd_routing::{Decision, Endpoint, EndpointPickerConfig, Pool, Scheduler};

const NOW: Duration = Duration::ZERO;

fn pool() -> Pool {
    let roles = [None, Some("decode"), Some("prefill"), None];
    let pool: Pool = (0..)
        .zip(roles)
        .map(|(number, role)| {
            Endpoint::new(format!("vllm-{number}"), format!("10.0.0.{number}:8000"), WorkerId(number))
                .with_labels(role.map(|role| (ROLE_LABEL, role)))
        })
        .collect();
    for (endpoint, (waiting, usage)) in pool.iter().zip([(4, 0.5), (0, 0.9), (0, 0.0)]) {
        endpoint.set_metrics(metrics(waiting, 0, usage));
    }
    pool
}

fn check(decision: &Decision, expected: &Expect) {
    expected.assert_eq(&decision.explain().to_string());
}

const YAML: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: decode-filter
- {type: queue-scorer}
- {type: prefix-cache-scorer}
schedulingProfiles:
- name: decode
  plugins:
  - pluginRef: decode-filter
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: prefix-cache-scorer, weight: 3}
";

#[test]
fn an_explanation_shows_each_endpoint_and_each_scorer() {
    let scheduler = Scheduler::from_yaml(YAML).unwrap().build().unwrap();
    let (pool, mut chance) = (pool(), Chance::new(3));
    drop(scheduler.decide(&request(0..300), &pool, NOW, &mut chance).unwrap());
    let mut decision = scheduler.decide(&request(0..400), &pool, NOW, &mut chance).unwrap();

    check(
        &decision,
        &expect![[r#"
            profile decode: max-score-picker chose vllm-1 of 3 candidates, 2.714 ahead of vllm-3
              rank  endpoint  queue-scorer × 2  prefix-cache-scorer × 3  total  cached tokens        index
                 1  vllm-1               1.000                    0.571  3.714            256  approximate  chosen
                 2  vllm-3               0.500                    0.000  1.000              0  approximate
                 3  vllm-0               0.000                    0.000  0.000              0  approximate
                 -  vllm-2                   -                        -      -              0  approximate  dropped by decode-filter
        "#]],
    );
    decision.advance(NOW);
    check(
        &decision,
        &expect![[r#"
            profile decode: vllm-3 of 3 candidates is next after 1 failure, 2.714 below the best
              rank  endpoint  queue-scorer × 2  prefix-cache-scorer × 3  total  cached tokens        index
                 1  vllm-1               1.000                    0.571  3.714            256  approximate  failed
                 2  vllm-3               0.500                    0.000  1.000              0  approximate  chosen
                 3  vllm-0               0.000                    0.000  0.000              0  approximate
                 -  vllm-2                   -                        -      -              0  approximate  dropped by decode-filter
        "#]],
    );
}

#[test]
fn an_explanation_says_when_chance_decided() {
    let yaml = "{apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: [{type: active-request-scorer}]}";
    let scheduler = Scheduler::from_yaml(yaml).unwrap().build().unwrap();
    check(
        &scheduler.decide(&request([]), &pool(), NOW, &mut Chance::new(3)).unwrap(),
        &expect![[r#"
        profile default: max-score-picker chose vllm-1 of 4 candidates, one of 4 with 1.000
          rank  endpoint  active-request-scorer × 1  total
             1  vllm-1                        1.000  1.000  chosen
             2  vllm-0                        1.000  1.000
             3  vllm-2                        1.000  1.000
             4  vllm-3                        1.000  1.000
    "#]],
    );
}

#[test]
fn an_explanation_of_a_picker_alone_has_no_scores_to_show() {
    let yaml = "{apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: [{type: round-robin-picker}]}";
    let scheduler = Scheduler::from_yaml(yaml).unwrap().build().unwrap();
    check(
        &scheduler.decide(&request([]), &pool(), NOW, &mut Chance::new(3)).unwrap(),
        &expect![[r#"
        profile default: round-robin-picker chose vllm-0 of 4 candidates, unscored
          rank  endpoint  total
             1  vllm-0    0.000  chosen
             2  vllm-2    0.000
             3  vllm-3    0.000
             4  vllm-1    0.000
    "#]],
    );
}

#[test]
fn a_description_says_what_was_added() {
    let scheduler = Scheduler::from_yaml(YAML).unwrap().build().unwrap();
    expect![[r#"
        handler: single-profile-handler
        profile decode: decode-filter → queue-scorer × 2 → prefix-cache-scorer × 3 → max-score-picker
        producer: approx-prefix-cache-producer
        approx-prefix-cache-producer: blocks of 64 tokens, 31250 per endpoint, until engines say better
        prefix-cache-scorer: reads approx-prefix-cache-producer
        added: single-profile-handler, since there is one profile and no handler
        added: max-score-picker to profile decode, which has no picker
        added: approx-prefix-cache-producer, since prefix-cache-scorer reads what it makes
        added: token-producer, which estimates, since prefix-cache-scorer reads what it makes
        needs: tokens, metrics
    "#]]
    .assert_eq(&scheduler.describe().to_string());
    let default = Scheduler::builder(EndpointPickerConfig::default()).build().unwrap();
    expect![[r#"
        handler: single-profile-handler
        profile default: queue-scorer × 2 → kv-cache-utilization-scorer × 2 → prefix-cache-scorer × 3 → max-score-picker
        producer: approx-prefix-cache-producer
        approx-prefix-cache-producer: blocks of 64 tokens, 31250 per endpoint, until engines say better
        prefix-cache-scorer: reads approx-prefix-cache-producer
        added: single-profile-handler, since there is one profile and no handler
        added: max-score-picker to profile default, which has no picker
        added: approx-prefix-cache-producer, since prefix-cache-scorer reads what it makes
        added: token-producer, which estimates, since prefix-cache-scorer reads what it makes
        needs: tokens, metrics
    "#]]
    .assert_eq(&default.describe().to_string());
}

#[test]
fn an_explanation_for_programs_says_the_same() {
    let scheduler = Scheduler::from_yaml(YAML).unwrap().build().unwrap();
    let (pool, mut chance) = (pool(), Chance::new(3));
    drop(scheduler.decide(&request(0..300), &pool, NOW, &mut chance).unwrap());
    let decision = scheduler.decide(&request(0..400), &pool, NOW, &mut chance).unwrap();
    let explanation = decision.explain();
    let json: serde_json::Value = serde_json::from_str(&explanation.to_json()).unwrap();

    assert_eq!((json["endpoint"].as_str(), json["profile"].as_str()), (Some("vllm-1"), Some("decode")));
    let profile = &json["profiles"][0];
    assert_eq!(profile["reason"], explanation.profiles[0].reason());
    assert_eq!(profile["scorers"][1], serde_json::json!({"name": "prefix-cache-scorer", "weight": 3.0}));
    let best = &profile["endpoints"][0];
    // Of 7 blocks, the last of 16 tokens, 4 are there: 2 · 1 + 3 · 4/7.
    assert_eq!((best["total"].as_f64(), best["turn"].as_str()), (Some(2.0 + 3.0 * 4.0 / 7.0), Some("chosen")));
    assert_eq!(
        (best["prefix"]["hit_tokens"].as_u64(), best["prefix"]["state"].as_str()),
        (Some(256), Some("approximate"))
    );
    let dropped: Vec<_> =
        profile["endpoints"].as_array().unwrap().iter().filter(|it| it["fate"] == "dropped").collect();
    assert_eq!((dropped.len(), dropped[0]["by"].as_str()), (1, Some("decode-filter")));
}
