//! Requests that go through several endpoints: which stages they get, what becomes of them when nobody is left for one, and
//! what they hold meanwhile.

use std::time::Duration;

use llmd_core::protocol::ROLE_LABEL;
use llmd_core::{ErrorKind, WorkerId};
use llmd_routing::plugin::{Refusal, Stage};
use llmd_routing::testing::{Chance, request};
use llmd_routing::{Decision, Endpoint, Headers, NextStep, Pool, Request, Scheduler, Usage};

const NOW: Duration = Duration::from_secs(1);
const REVISION: &str = "disaggregatedset.x-k8s.io/revision";

/// A scheduler with a profile per stage, whose handler has these parameters.
fn scheduler(parameters: &str) -> Scheduler {
    build(parameters).unwrap_or_else(|error| panic!("{error}"))
}

fn build(parameters: &str) -> llmd_core::Result<Scheduler> {
    let yaml = format!(
        "apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {{type: decode-filter}}
- {{type: prefill-filter}}
- {{type: encode-filter}}
- {{type: active-request-scorer}}
- {{type: max-score-picker}}
- {{type: max-score-picker, name: two, parameters: {{maxNumOfEndpoints: 2}}}}
- {{type: always-disagg-pd-decider}}
- {{type: always-disagg-multimodal-decider}}
- {{type: prefix-based-pd-decider, parameters: {{nonCachedTokens: 256}}}}
- {{type: disagg-profile-handler, parameters: {parameters}}}
schedulingProfiles:
- {{name: decode, plugins: [{{pluginRef: decode-filter}}, {{pluginRef: active-request-scorer}}, {{pluginRef: max-score-picker}}]}}
- {{name: prefill, plugins: [{{pluginRef: prefill-filter}}, {{pluginRef: active-request-scorer}}, {{pluginRef: max-score-picker}}]}}
- {{name: encode, plugins: [{{pluginRef: encode-filter}}, {{pluginRef: two}}]}}
- {{name: anybody, plugins: [{{pluginRef: active-request-scorer}}, {{pluginRef: max-score-picker}}]}}
"
    );
    Scheduler::from_yaml(&yaml)?.build()
}

/// Endpoints called as they are described: a role, and after a slash a revision.
fn pool(endpoints: &[&str]) -> Pool {
    let endpoint = |(number, described): (u32, &&str)| {
        let (role, revision) = described.split_once('/').map_or((*described, None), |(role, it)| (role, Some(it)));
        let role = (!role.is_empty()).then(|| (ROLE_LABEL, role.trim_end_matches(|c: char| c.is_ascii_digit())));
        let labels = role.into_iter().chain(revision.map(|revision| (REVISION, revision)));
        Endpoint::new(*described, format!("10.0.0.{number}:8000"), WorkerId(number)).with_labels(labels)
    };
    (0..).zip(endpoints).map(endpoint).collect()
}

fn decide(scheduler: &Scheduler, request: &Request, pool: &Pool) -> llmd_core::Result<Decision> {
    scheduler.decide(request, pool, NOW, &mut Chance::new(1))
}

fn with_image(tokens: u32) -> Request {
    let image = llmd_core::hash::MultimodalItem { identifier: "cafe".into(), offset: 0, len: 4 };
    request(0..tokens).with_namespace(llmd_core::hash::Namespace::default().with_multimodal([image]))
}

fn stages(decision: &Decision) -> Vec<String> {
    decision.stages().iter().map(|stage| format!("{} at {}", stage.stage, stage.endpoint.name())).collect()
}

fn in_flight(pool: &Pool) -> Vec<(u64, u64)> {
    pool.iter().map(|endpoint| (endpoint.in_flight().requests(), endpoint.in_flight().tokens())).collect()
}

const ALL: &str = "{deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}}";

#[test]
fn each_stage_gets_an_endpoint_where_its_decider_says_so() {
    let pool = pool(&["decode", "prefill", "encode1", "encode2"]);
    let by_length = scheduler("{deciders: {prefill: prefix-based-pd-decider}}");
    let first = scheduler("{stageOrder: prefill-first, deciders: {encode: always-disagg-multimodal-decider}}");
    let (all, none) = (scheduler(ALL), scheduler("{}"));
    let table = [
        (&none, with_image(1000), &["decode at decode"][..]),
        (&all, request(0..10), &["prefill at prefill", "decode at decode"]),
        (&by_length, request(0..255), &["decode at decode"]),
        (&by_length, request(1000..1256), &["prefill at prefill", "decode at decode"]),
        (&first, request(0..10), &["prefill at prefill", "decode at decode"]),
    ];
    for (scheduler, request, expected) in table {
        let decision = decide(scheduler, &request, &pool).unwrap();
        assert_eq!(stages(&decision), expected);
        assert_eq!(decision.endpoint().name(), "decode");
    }
    for scheduler in [&all, &first] {
        let decision = decide(scheduler, &with_image(10), &pool).unwrap();
        let stages = stages(&decision);
        assert!(stages[0].starts_with("encode at encode"), "{stages:?}");
        assert_eq!(stages[1..], ["prefill at prefill", "decode at decode"]);
    }
}

#[test]
fn headers_say_where_the_stages_are_done_and_nothing_that_a_client_said() {
    let pool = pool(&["decode", "prefill", "encode1", "encode2"]);
    let decision = decide(&scheduler(ALL), &with_image(10), &pool).unwrap();
    let changes = decision.request_headers();
    let removed = |name: &str| changes.remove.iter().any(|it| it == name);
    assert!(removed("x-prefiller-host-port") && removed("x-encoder-hosts-ports"));
    assert_eq!(changes.set.get("x-prefiller-host-port"), Some("10.0.0.1:8000"));
    let mut encoders: Vec<_> = changes.set.get("x-encoder-hosts-ports").unwrap().split(',').collect();
    encoders.sort_unstable();
    assert_eq!(encoders, ["10.0.0.2:8000", "10.0.0.3:8000"], "all that were picked");

    let changes = decide(&scheduler("{}"), &with_image(10), &pool).unwrap().request_headers();
    assert_eq!(changes.set, Headers::default());
}

#[test]
fn a_prompt_counts_where_it_is_computed() {
    let (scheduler, pool) = (scheduler(ALL), pool(&["decode", "prefill"]));
    // Tokens count where a plugin reads them; here it is the counters themselves that are looked at.
    let mut decision = decide(&scheduler, &request(0..100), &pool).unwrap();
    assert_eq!(in_flight(&pool), [(1, 0), (1, 100)]);
    decision.stage_done(Stage::Prefill);
    assert_eq!(in_flight(&pool), [(1, 0), (0, 0)]);
    decision.first_token(NOW);
    decision.end(NOW, &Usage::default());
    assert_eq!(in_flight(&pool), [(0, 0), (0, 0)]);

    let mut decision = decide(&scheduler, &request(0..100), &pool).unwrap();
    decision.first_token(NOW);
    assert_eq!(in_flight(&pool), [(1, 0), (0, 0)], "at the first token all stages before the decode are done");
}

#[test]
fn a_stage_for_which_nobody_is_left_goes_as_it_is_configured() {
    let (lenient, strict) = (
        scheduler("{deciders: {prefill: always-disagg-pd-decider}}"),
        scheduler("{deciders: {prefill: always-disagg-pd-decider}, fallbacks: {prefill: fail}}"),
    );
    let only = pool(&["decode"]);
    let decision = decide(&lenient, &request(0..100), &only).unwrap();
    assert_eq!((stages(&decision), decision.skipped()), (vec!["decode at decode".to_owned()], &[Stage::Prefill][..]));
    assert_eq!(in_flight(&only), [(1, 100)], "the endpoint that decodes computes the prompt as well");
    assert_eq!(decision.request_headers().set, Headers::default());
    drop(decision);

    let error = decide(&strict, &request(0..100), &only).unwrap_err();
    assert_eq!(error.to_string(), "filter prefill-filter of profile prefill leaves none of 1 endpoints");
    assert_eq!(Refusal::of(&error).map(|it| (it.status, it.reason)), Some((429, Some(Refusal::SATURATED))));
    assert_eq!(in_flight(&only), [(0, 0)]);
}

#[test]
fn without_anybody_to_decode_the_fallback_profile_chooses_or_the_request_is_refused() {
    let only = pool(&["prefill"]);
    let error = decide(&scheduler(ALL), &request(0..10), &only).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    let fallback = ALL.replace("{deciders", "{fallbackProfile: anybody, deciders");
    let decision = decide(&scheduler(&fallback), &request(0..10), &only).unwrap();
    assert_eq!(stages(&decision), ["decode at prefill"]);
    assert_eq!(in_flight(&only), [(1, 10)]);
}

#[test]
fn whoever_does_everything_is_not_sent_elsewhere_for_a_part_of_it() {
    let pool = pool(&["prefill/a", "encode/b"]);
    let first = scheduler("{stageOrder: prefill-first, fallbackProfile: anybody}");
    for seed in 0..16 {
        let decision = first.decide(&request(0..10), &pool, NOW, &mut Chance::new(seed)).unwrap();
        assert_eq!(decision.stages().len(), 1);
        assert_eq!(decision.request_headers().set, Headers::default());
        assert_eq!(pool.iter().map(|endpoint| endpoint.in_flight().requests()).sum::<u64>(), 1);
    }
    let mut same =
        decide(&scheduler(&ALL.replace("{deciders", "{fallbackProfile: prefill, deciders")), &request(0..10), &pool)
            .unwrap();
    assert_eq!(stages(&same), ["decode at prefill/a"]);
    assert!(matches!(same.stage_failed(Stage::Prefill, NOW), NextStep::Fail));
    assert!(matches!(same.stage_failed(Stage::Decode, NOW), NextStep::Fail));
    assert_eq!(same.endpoint().name(), "prefill/a");
}

#[test]
fn an_endpoint_that_fails_at_a_stage_is_followed_by_the_next_and_then_by_the_fallback() {
    let (scheduler, pool) = (scheduler(ALL), pool(&["decode", "prefill1", "prefill2"]));
    let mut decision = decide(&scheduler, &request(0..100), &pool).unwrap();
    let first = decision.stage(Stage::Prefill).unwrap().endpoint.name().to_owned();

    let NextStep::Retry(second) = decision.stage_failed(Stage::Prefill, NOW) else { panic!("there is another") };
    assert_ne!(second.name(), first);
    assert_eq!((second.in_flight().requests(), second.in_flight().tokens()), (1, 100));
    assert!(matches!(decision.stage_failed(Stage::Prefill, NOW), NextStep::Without));
    assert_eq!((stages(&decision), decision.skipped()), (vec!["decode at decode".to_owned()], &[Stage::Prefill][..]));
    assert_eq!(in_flight(&pool), [(1, 100), (0, 0), (0, 0)]);
    assert!(matches!(decision.stage_failed(Stage::Prefill, NOW), NextStep::Fail), "it has no endpoint any more");
    assert!(matches!(decision.stage_failed(Stage::Decode, NOW), NextStep::Fail));
    decision.end(NOW, &Usage::default());
    assert!(matches!(decision.stage_failed(Stage::Decode, NOW), NextStep::Fail));
    assert!(in_flight(&pool).iter().all(|&load| load == (0, 0)));
}

#[test]
fn endpoints_of_different_revisions_are_never_paired() {
    let pool = pool(&["decode1/a", "decode2/b", "prefill/a", "decode3", "prefill2"]);
    let revision = |endpoint: &Endpoint| endpoint.labels().get(REVISION).cloned();
    let guarded = scheduler(ALL);
    for seed in 0..64 {
        let mut decision = guarded.decide(&request(0..100), &pool, NOW, &mut Chance::new(seed)).unwrap();
        let alone = decision.stage(Stage::Prefill).is_none();
        assert_eq!(alone, decision.endpoint().name() == "decode2/b", "of b there is nobody to prefill");
        loop {
            let decode = revision(decision.endpoint());
            let prefill = decision.stage(Stage::Prefill).map(|prefill| revision(prefill.endpoint));
            assert!(prefill.is_none_or(|prefill| prefill == decode));
            if decision.advance(NOW).is_none() {
                break;
            }
        }
    }
    let unguarded = scheduler(&ALL.replace("{deciders", "{pairing: {label: ''}, deciders"));
    let mixed = (0..64).any(|seed| {
        let decision = unguarded.decide(&request(0..100), &pool, NOW, &mut Chance::new(seed)).unwrap();
        revision(decision.endpoint()) != revision(decision.stage(Stage::Prefill).unwrap().endpoint)
    });
    assert!(mixed, "without the guard they are");
}

#[test]
fn an_explanation_names_the_stage_and_who_did_not_fit() {
    let pool = pool(&["decode/a", "prefill1/a", "prefill2/b"]);
    let explanation = decide(&scheduler(ALL), &request(0..100), &pool).unwrap().explain();
    assert_eq!(explanation.profiles.iter().map(|it| it.stage).collect::<Vec<_>>(), [Stage::Decode, Stage::Prefill]);
    let json: serde_json::Value = serde_json::from_str(&explanation.to_json()).unwrap();
    let dropped = json["profiles"][1]["endpoints"].as_array().unwrap();
    let by = |name: &str| dropped.iter().find(|it| it["endpoint"] == name).map(|it| it["by"].clone()).unwrap();
    assert_eq!(by("prefill2/b"), "disagg-profile-handler");
    assert_eq!(by("decode/a"), "prefill-filter");
}

#[test]
fn stages_have_the_deadlines_that_are_configured() {
    let timed = ALL.replace("{deciders", "{deadlines: {prefill: 10s, decode: 1m}, deciders");
    let decision = decide(&scheduler(&timed), &request(0..100), &pool(&["decode", "prefill"])).unwrap();
    let deadlines: Vec<_> = decision.stages().iter().map(|stage| stage.deadline).collect();
    assert_eq!(deadlines, [10, 60].map(|seconds| Some(Duration::from_secs(seconds))));
}

#[test]
fn what_does_not_fit_together_is_refused_when_it_is_loaded() {
    let table = [
        (
            "{stageOrder: prefill-first, deciders: {prefill: always-disagg-pd-decider}}",
            "line 13, column 94: plugins[9].parameters.deciders.prefill: a decider where prefill comes first, and so is \
             always done; leave it out",
        ),
        (
            "{profiles: {decode: decoding}}",
            "`disagg-profile-handler` runs profile `decoding`, which is not there; profiles: decode, prefill, encode, anybody",
        ),
        (
            "{deciders: {prefill: never}}",
            "`disagg-profile-handler` asks decider `never`, which is not there; deciders: always-disagg-pd-decider, \
             always-disagg-multimodal-decider, prefix-based-pd-decider",
        ),
        (
            "{fallbackProfile: nobody}",
            "`disagg-profile-handler` runs profile `nobody`, which is not there; profiles: decode, prefill, encode, anybody",
        ),
    ];
    for (parameters, expected) in table {
        let error = build(parameters).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, expected.to_owned()));
    }
}
