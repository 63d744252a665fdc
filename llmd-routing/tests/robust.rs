//! Whatever loads decides, or says why not: on any request, any endpoints, and whatever these say about themselves.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::hash::{Lora, MultimodalItem, Namespace};
use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_core::protocol::ROLE_LABEL;
use llmd_routing::config::plugin_types;
use llmd_routing::plugin::{Attributes, Data, Hooks, Latency, Plugin, Producer, Stage};
use llmd_routing::testing::Chance;
use llmd_routing::{Decision, Endpoint, EngineMetrics, Headers, LoraMetrics, Pool, Request, Scheduler, Usage};
use proptest::prelude::*;

/// Predicts nonsense, of some endpoints.
#[derive(Debug)]
struct Oracle;

impl Plugin for Oracle {}

impl Producer for Oracle {
    fn makes(&self) -> Data {
        Data::Latency("predicted-latency-producer".to_owned())
    }

    fn produce(
        &self,
        request: &Request,
        pool: &[Arc<Endpoint>],
        _: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 250.0];
        let predicted = (0..pool.len()).map(|place| {
            let pick = |salt: usize| odd[(place * 3 + salt + request.prompt_tokens()) % odd.len()];
            let mut latency = Latency::default();
            (latency.ttft_ms, latency.tpot_ms) = (pick(0), pick(1));
            (latency.ttft_headroom_ms, latency.tpot_headroom_ms) = (pick(2), pick(3));
            (place % 4 != 0).then_some(latency)
        });
        out.set_latencies(&"predicted-latency-producer".into(), predicted.collect());
        None
    }
}

/// Parameters for types that need some, and other ones for some that do not.
const PARAMETERS: &[(&str, &[&str])] = &[
    ("active-request-scorer", &["{idleThreshold: 3, maxBusyScore: 0.4}"]),
    (
        "approx-prefix-cache-producer",
        &[
            "{}",
            "{autoTune: false, blockSizeTokens: 64, lruCapacityPerServer: 1, counting: llm-d}",
            "{maxPrefixTokensToMatch: 0}",
        ],
    ),
    ("by-label", &["{label: llm-d.ai/role, validValues: [decode], allowsNoLabel: true}"]),
    ("completion-time-scorer", &["{}", "{evictionCost: 0, readMsPerKiloToken: 0, recomputeCost: 0}"]),
    ("concurrency-detector", &["{}", "{maxConcurrency: 1, concurrencyMode: hybrid}"]),
    ("context-length-aware", &["{}", "{enableFiltering: true}"]),
    (
        "disagg-profile-handler",
        &[
            "{deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}}",
            "{stageOrder: prefill-first, fallbackProfile: extra}",
            "{deciders: {prefill: prefix-based-pd-decider}, fallbacks: {prefill: fail}}",
        ],
    ),
    (
        "disaggregatedset-rollout-screener",
        &[
            "{scope: {labelSelector: '!none'}, revisionGating: {mode: sum, roleLabelKey: llm-d.ai/role, requireRoles: {values: [decode]}}}",
            "{scope: {labelSelector: app}, headerSelectors: [{name: a, headerName: x-zone, labelKey: llm-d.ai/role, mode: strict}], revisionGating: {mode: disabled}}",
        ],
    ),
    (
        "endpoint-attribute-filter",
        &["{attribute: GPUUtilization, algorithm: {type: threshold, threshold: {operator: LessThan, value: 0.5}}}"],
    ),
    (
        "endpoint-attribute-scorer",
        &[
            "{attributeKey: GPUUtilization, algorithm: {type: linear_lower_is_better, normalization: {adaptiveRange: {}}}}",
            "{attributeKey: GPUUtilization, algorithm: {type: linear_higher_is_better, normalization: {fixedRange: {min: 0, max: 1}}}}",
        ],
    ),
    ("file-discovery", &["{path: endpoints.yaml, watchFile: true}"]),
    ("header-label-affinity-scorer", &["{headerName: x-zone, labelKey: topology.kubernetes.io/zone}"]),
    ("inflight-load-producer", &["{}", "{addEstimatedOutputTokens: true, reservationTTL: 1s}", "{reserve: when-sent}"]),
    ("max-score-picker", &["{}", "{maxNumOfEndpoints: 3}"]),
    ("prefix-based-pd-decider", &["{nonCachedTokens: 16}", "{}"]),
    (
        "prefix-cache-affinity-filter",
        &["{}", "{affinityThreshold: 0.1, explorationProbability: 0.5, maxTTFTPenaltyMs: 1}"],
    ),
    (
        "prefix-cache-scorer",
        &["{}", "{matchLengthWeight: 0.5}", "{prefixMatchInfoProducerName: precise-prefix-cache-producer}"],
    ),
    ("precise-prefix-cache-producer", &["{}", "{speculativeIndexing: true, tierWeights: measured}"]),
    ("probabilistic-admitter", &["{}", "{k: 0.1, denialStatus: 503}"]),
    (
        "request-attribute-reporter",
        &["{attributes: [{key: {name: tokens}, expression: 'usage.prompt_tokens + usage.completion_tokens'}]}"],
    ),
    (
        "session-affinity-filter",
        &[
            "{}",
            "{strategy: session_id, sessionIdConfig: {sources: [{attribute: session-id}, {header: x-session-id}]}}",
        ],
    ),
    (
        "session-affinity-scorer",
        &[
            "{profileName: prefill}",
            "{strategy: session_hash, sessionHashConfig: {sources: [{attribute: agent-identity}]}}",
        ],
    ),
    ("session-id-producer", &["{headerName: x-session-id}", "{cookieName: session}"]),
    ("token-producer", &["{}"]),
    ("trusted-prefix-cache-producer", &["{}", "{rememberedWeight: 0}"]),
    ("utilization-filter", &["{conditions: [{metric: waiting-queue, maxValue: 4}], fallbackOnEmpty: true}"]),
    ("weighted-random-picker", &["{}", "{maxNumOfEndpoints: 2}"]),
];

fn parameters(name: &str, choice: usize) -> &'static str {
    let known = PARAMETERS.iter().find(|(known, _)| *known == name);
    known.map_or("{}", |(_, parameters)| parameters[choice % parameters.len()])
}

/// Whether a type is a filter or a scorer.
fn stands_in_profiles(name: &str) -> bool {
    let ends = ["-filter", "-scorer", "-detector"].iter().any(|end| name.ends_with(end));
    ends || ["by-label", "by-label-selector", "context-length-aware"].contains(&name)
}

/// Some of the catalogue's plugins in some order, in three profiles and one more, with one handler.
fn config(chosen: &[(usize, usize)], handler: usize) -> String {
    let handlers = ["header-profile-handler", "disagg-profile-handler"];
    let mut plugins = String::new();
    let mut standing = String::new();
    let types: Vec<_> = plugin_types().filter(|it| !it.name.ends_with("-handler")).collect();
    let mut seen = Vec::new();
    for &(place, choice) in chosen {
        let it = &types[place % types.len()];
        if seen.contains(&it.name) {
            continue;
        }
        seen.push(it.name);
        plugins += &format!("- {{type: {}, parameters: {}}}\n", it.name, parameters(it.name, choice));
        if stands_in_profiles(it.name) {
            standing += &format!("{{pluginRef: {}, weight: {}}}, ", it.name, choice % 4);
        }
    }
    for decider in ["always-disagg-pd-decider", "always-disagg-multimodal-decider", "prefix-based-pd-decider"] {
        if !seen.contains(&decider) {
            plugins += &format!("- {{type: {decider}, parameters: {}}}\n", parameters(decider, handler));
        }
    }
    let handler_name = handlers[handler % handlers.len()];
    plugins += &format!("- {{type: {handler_name}, parameters: {}}}\n", parameters(handler_name, handler / 2));
    let profiles = ["decode", "prefill", "encode", "extra"].map(|name| {
        let standing = standing.trim_end_matches(", ");
        format!("- {{name: {name}, plugins: [{standing}]}}\n")
    });
    format!(
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n{plugins}schedulingProfiles:\n{}",
        profiles.concat()
    )
}

fn odd() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), Just(1e300), 0.0..1.0]
}

fn count() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), Just(Some(0)), Just(Some(u64::MAX)), (0..200_u64).prop_map(Some)]
}

fn metrics() -> impl Strategy<Value = Option<EngineMetrics>> {
    let said = (count(), count(), proptest::option::of(odd()), 0..3_u64, count(), proptest::option::of(odd()));
    proptest::option::of(said.prop_map(|(waiting, running, usage, updated, blocks, load)| {
        let mut metrics = EngineMetrics::default();
        (metrics.waiting_requests, metrics.running_requests, metrics.kv_cache_usage) = (waiting, running, usage);
        metrics.updated = Duration::from_secs(updated * 1000);
        (metrics.block_size, metrics.num_blocks) = (blocks.map(|blocks| blocks as u32), blocks);
        metrics.load_s_per_token = [load; 3];
        metrics.prefill_s_per_token = load;
        metrics.lora = waiting.map(|max| {
            let mut lora = LoraMetrics::default();
            lora.running = vec!["adapter".to_owned(), String::new()];
            lora.waiting = vec!["other".to_owned()];
            lora.max = max as u32;
            lora
        });
        metrics
    }))
}

const ROLES: [&str; 6] = ["decode", "prefill", "encode", "both", "nonsense", ""];

prop_compose! {
    fn endpoints()(
        said in proptest::collection::vec((metrics(), 0..6_usize, 0..4_usize, odd()), 0..24),
        many in prop_oneof![19 => Just(0_usize), 1 => Just(3000)],
    ) -> Pool {
        let number = said.len();
        let described = (0..number + many).map(|place| {
            let (metrics, role, zone, value) = said.get(place % number.max(1)).cloned().unwrap_or((None, 5, 0, 0.5));
            let role = (role < 5).then(|| (ROLE_LABEL, ROLES[role].to_owned()));
            let labels = [
                ("topology.kubernetes.io/zone", format!("zone-{zone}")),
                ("kubernetes.io/hostname", format!("host-{place}")),
                ("llm-d.ai/context-length-range", ["0-100", "100-50", "x", "0-0"][zone].to_owned()),
                ("disaggregatedset.x-k8s.io/revision", format!("{}", zone % 2)),
            ];
            let worker = WorkerId(place as u32);
            let endpoint = Endpoint::new(format!("default/engine-{place}"), format!("10.0.0.{place}:8000"), worker)
                .with_labels(labels.into_iter().filter(|_| zone != 3).chain(role));
            endpoint.set_attribute("GPUUtilization", value);
            metrics.into_iter().for_each(|metrics| endpoint.set_metrics(metrics));
            endpoint
        });
        described.collect()
    }
}

prop_compose! {
    fn requests()(
        tokens in proptest::option::of(0..300_u32),
        start in 0..4_u32,
        headers in proptest::collection::vec((0..12_usize, "[ -~]{0,12}"), 0..6),
        priority in prop_oneof![Just(0), Just(-1), Just(i32::MIN), Just(i32::MAX)],
        (image, salt, lora, tenant) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        max in proptest::option::of(any::<u32>()),
    ) -> Request {
        const NAMES: [&str; 12] = [
            "x-session-id", "x-session-token", "cookie", "prefer", "epp-profile", "x-llm-d-slo-ttft-ms",
            "x-llm-d-slo-tpot-ms", "test-epp-endpoint-selection", "x-zone", "session-id",
            "x-llm-d-inference-fairness-id", "x-disaggregatedset-revision",
        ];
        let mut namespace = Namespace::default();
        if image {
            namespace = namespace.with_multimodal([MultimodalItem { identifier: "cafe".into(), offset: 0, len: 4 }]);
        }
        namespace.cache_salt = salt.then(|| "salt".to_owned());
        namespace.lora = lora.then(|| Lora::new("adapter"));
        let mut request = Request::new("request", "model").with_namespace(namespace).with_priority(priority);
        request.headers = headers.into_iter().map(|(name, value)| (NAMES[name], value)).collect::<Headers>();
        request.tokens = tokens.map(|tokens| (start * 100..start * 100 + tokens).collect());
        request.tenant = tenant.then(|| "tenant".to_owned());
        request.max_output_tokens = max;
        request
    }
}

/// Moves a decision on as some caller might, and says everything about it.
fn live(mut decision: Decision, step: usize, now: Duration) -> Option<Decision> {
    if step.is_multiple_of(4) {
        _ = (decision.explain().to_string(), decision.explain().to_json());
    }
    _ = (decision.request_headers(), decision.headers(), decision.ranked().len(), decision.stages().len());
    decision.sent(now);
    for (action, stage) in [step % 7, step / 7 % 7].into_iter().zip([Stage::Prefill, Stage::Encode]) {
        match action {
            0 => _ = decision.advance(now).is_some(),
            1 => _ = decision.stage_failed(stage, now),
            2 => decision.stage_done(stage),
            3 => decision.first_token(now),
            4 => decision.renew(now),
            5 => decision.end(now, &Usage::default()),
            _ => decision.abort(),
        }
        _ = (decision.request_headers(), decision.report(&Usage::default()));
    }
    (!step.is_multiple_of(3)).then_some(decision)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A configuration that loads never panics, whatever it is asked, and in the end nothing is in flight, also where
    /// decisions are forgotten.
    #[test]
    fn what_loads_decides_or_says_why_not(
        chosen in proptest::collection::vec((0..100_usize, 0..12_usize), 0..14),
        handler in 0..6_usize,
        pools in proptest::collection::vec(endpoints(), 1..3),
        requests in proptest::collection::vec((requests(), 0..100_usize, 0..500_u64), 1..12),
        seed in any::<u64>(),
    ) {
        let yaml = config(&chosen, handler);
        let (_writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(16));
        let built = Scheduler::from_yaml(&yaml).and_then(|builder| {
            let builder = builder.with_index(reader).allow_experimental(true);
            builder.with_producer("predicted-latency-producer", Arc::new(Oracle)).build()
        });
        let scheduler = match built {
            Ok(scheduler) => scheduler,
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                return Ok(());
            }
        };
        _ = (scheduler.describe().to_string(), scheduler.dropped());
        let (mut chance, mut now) = (Chance::new(seed), Duration::ZERO);
        let mut held = Vec::new();
        for (place, (request, step, later)) in requests.iter().enumerate() {
            now += Duration::from_millis(*later * 10);
            match scheduler.decide(request, &pools[place % pools.len()], now, &mut chance) {
                Ok(decision) => held.extend(live(decision, *step, now)),
                Err(error) => prop_assert!(error.kind() != llmd_core::ErrorKind::Internal, "{error}"),
            }
        }
        // Some are forgotten for good, as a caller in C might; their time ends all the same.
        for (place, decision) in held.into_iter().enumerate() {
            if place % 2 == 0 { std::mem::forget(decision) } else { drop(decision) }
        }
        scheduler.lapse(now + Duration::from_secs(3600));
        for endpoint in pools.iter().flat_map(|pool| pool.iter()) {
            prop_assert_eq!(endpoint.in_flight().load(), llmd_routing::Load::default());
        }
    }
}

#[test]
fn every_type_of_the_catalogue_loads_by_itself_with_what_the_test_gives_it() {
    let types: Vec<_> = plugin_types().collect();
    assert!(types.len() > 30, "{} types", types.len());
    for it in &types {
        let choices = PARAMETERS.iter().find(|(name, _)| *name == it.name).map_or(1, |(_, choices)| choices.len());
        for choice in 0..choices {
            let yaml = config(&[], 0).replacen(
                "plugins:\n-",
                &format!(
                    "plugins:\n- {{type: precise-prefix-cache-producer}}\n- {{type: {}, name: it, parameters: {}}}\n-",
                    it.name,
                    parameters(it.name, choice)
                ),
                1,
            );
            let handler = it.name.ends_with("-handler")
                && !it.name.ends_with("-headers-handler")
                && it.name != "prefill-header-handler";
            let yaml =
                if handler { yaml.replace("- {type: header-profile-handler, parameters: {}}\n", "") } else { yaml };
            let (_writer, reader) = ExactIndex::new(IndexSettings::default());
            let built = Scheduler::from_yaml(&yaml).and_then(|builder| {
                let builder = builder.with_index(reader).allow_experimental(true);
                builder.with_producer("predicted-latency-producer", Arc::new(Oracle)).build()
            });
            let single = it.name == "single-profile-handler" || it.name == "data-parallel-profile-handler";
            if let Err(error) = built {
                assert!(single && error.to_string().contains("one profile"), "{}: {error}\n{yaml}", it.name);
            }
        }
    }
}
