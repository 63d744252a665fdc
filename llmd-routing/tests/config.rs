//! llm-d's YAML: what is taken, what is refused, and in which words.

use std::time::Duration;

use expect_test::{Expect, expect};
use llmd_core::ErrorKind;
use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_routing::config::TokenBackend;
use llmd_routing::{EndpointPickerConfig, Scheduler};

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

fn error(body: &str) -> (ErrorKind, String) {
    let text = format!("{HEAD}{body}");
    let (_, reader) = ExactIndex::new(IndexSettings::default());
    let built = Scheduler::from_yaml(&text).and_then(|builder| builder.with_index(reader).build());
    let error = built.expect_err(body);
    (error.kind(), error.to_string())
}

/// Each body is wrong, and this is what is said about it.
fn invalid(bodies: &[&str], expected: &Expect) {
    said(bodies, ErrorKind::Invalid, expected);
}

fn said(bodies: &[&str], kind: ErrorKind, expected: &Expect) {
    let mut all = String::new();
    for body in bodies {
        let (found, message) = error(body);
        assert_eq!(found, kind, "{message}");
        assert!(!message.contains('\n'), "an error is one line: {message}");
        all += &format!("{message}\n");
    }
    expected.assert_eq(&all);
}

#[test]
fn a_misspelt_field_is_named_with_its_place_and_what_was_meant() {
    invalid(
        &[
            "plugins:\n- type: prefix-cache-scorer\n  parameters:\n    matchLengthWieght: 0.5\n",
            "plugins:\n- type: queue-scorer\n  parameters: {threshold: 5}\n",
            "plugins:\n- typ: queue-scorer\n",
            "plugin:\n- type: queue-scorer\n",
            "plugins:\n- type: session-affinity-scorer\n  parameters: {strategy: session-id}\n",
            "plugins:\n- type: label-selector-filter\n  parameters:\n    matchExpressions:\n    - {key: gpu, operator: Is, values: [h100]}\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters:\n    kvEventsConfig:\n      podDiscoveryConfig: {socketport: 5557}\n",
        ],
        &expect![[r#"
            line 6, column 5: plugins[0].parameters.matchLengthWieght: unknown field `matchLengthWieght`, did you mean `matchLengthWeight`? expected one of `matchLengthWeight`, `matchLengthScaleTokens`, `prefixMatchInfoProducerName`
            line 5, column 16: plugins[0].parameters.threshold: unknown field `threshold`, expected `missingMetrics`
            line 4, column 3: plugins[0].typ: unknown field `typ`, did you mean `type`? expected one of `type`, `name`, `parameters`
            line 3, column 1: plugin: unknown field `plugin`, did you mean `plugins`? expected one of `apiVersion`, `kind`, `featureGates`, `plugins`, `schedulingProfiles`, `dataLayer`, `flowControl`, `requestHandler`, `saturationDetector`, `parser`
            line 5, column 26: plugins[0].parameters.strategy: unknown value `session-id`, did you mean `session_id`? expected one of `encoded_endpoint_header`, `session_hash`, `session_id`
            line 7, column 28: plugins[0].parameters.matchExpressions[0].operator: unknown value `Is`, did you mean `In`? expected one of `In`, `NotIn`, `Exists`, `DoesNotExist`
            line 7, column 28: plugins[0].parameters.kvEventsConfig.podDiscoveryConfig.socketport: unknown field `socketport`, did you mean `socketPort`? expected one of `podLabelSelector`, `socketPort`, `replaySocketPort`
        "#]],
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_what_was_expected() {
    invalid(
        &[
            "plugins:\n- type: token-load-scorer\n  parameters: {queueThresholdTokens: many}\n",
            "plugins:\n- type: token-load-scorer\n  parameters: {queueThresholdTokens: -1}\n",
            "plugins:\n- type: prefix-cache-scorer\n  parameters: {matchLengthWeight: 2}\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {speculativeTTL: 2}\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {speculativeTTL: soon}\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {tokenProcessorConfig: {blockSizeTokens: 0}}\n",
            "plugins:\n- type: label-selector-filter\n  parameters:\n    matchExpressions:\n    - {key: gpu, operator: In}\n",
            "plugins:\n- type: label-selector-filter\n  parameters:\n    matchLabels: {gpu: 7}\n",
            "plugins:\n- type: prefix-cache-affinity-filter\n  parameters: {affinityThreshold: 1.5}\n",
            "plugins:\n- type: prefix-cache-affinity-filter\n  parameters: {explorationProbability: -0.1}\n",
            "plugins:\n- type: prefix-cache-affinity-filter\n  parameters: {maxTTFTPenaltyMs: -1}\n",
            "plugins:\n- type: prefix-cache-affinity-filter\n  parameters: {peakPrefillThroughput: 0}\n",
            "plugins:\n- type: prefix-cache-affinity-filter\n  parameters: {ttftSource: guess}\n",
            "plugins:\n- type: prefix-cache-affinity-filter\n  parameters: {ttftSource: latencyPredictor}\n",
            "plugins:\n- type: slo-headroom-tier-filter\n  parameters: {epsilonExploreNeg: 2}\n",
            "plugins:\n- type: by-label\n  parameters: {validValues: [a]}\n",
            "plugins:\n- type: by-label\n  parameters: {label: gpu}\n",
            "plugins:\n- type: endpoint-attribute-filter\n  parameters: {attribute: a}\n",
            "plugins:\n- type: endpoint-attribute-filter\n  parameters: {attribute: GPU/dcgm, algorithm: {type: threshold, threshold: {operator: LessThan, value: 1}}}\n",
            "plugins:\n- type: topology-affinity-filter\n  parameters: {minAffinity: room}\n",
            "plugins:\n- type: utilization-filter\n  parameters: {conditions: []}\n",
            "plugins:\n- type: utilization-filter\n  parameters: {conditions: [{metric: waiting-queue, maxValue: 1}, {metric: kv-cache-utilization, maxValue: 5}]}\n",
            "plugins:\n- type: concurrency-detector\n  parameters: {maxConcurrency: 0}\n",
            "plugins:\n- type: concurrency-detector\n  parameters: {concurrencyMode: bytes}\n",
            "plugins:\n- type: utilization-detector\n  parameters: {kvCacheUtilThreshold: 0}\n",
            "plugins:\n- type: utilization-detector\n  parameters: {metricsStalenessThreshold: 0s}\n",
            "plugins:\n- type: context-length-aware\n  parameters: {label: ''}\n",
            "plugins:\n- type: latency-scorer\n  parameters: {compositeKVWeight: -1}\n",
            "plugins:\n- type: latency-scorer\n  parameters: {headroomSelectionStrategy: some}\n",
            "plugins:\n- type: endpoint-attribute-scorer\n  parameters: {attributeKey: a, algorithm: {type: linear_lower_is_better, normalization: {fixedRange: {min: 1, max: 1}}}}\n",
            "plugins:\n- type: endpoint-attribute-scorer\n  parameters: {attributeKey: a, algorithm: {type: linear_lower_is_better, normalization: {fixedRange: {min: 0, max: 1}, adaptiveRange: {}}}}\n",
            "plugins:\n- type: header-label-affinity-scorer\n  parameters: {headerName: x-where}\n",
            "plugins:\n- type: lora-affinity-scorer\n  parameters: {slots: both}\n",
            "plugins:\n- type: queue-scorer\n  parameters: {missingMetrics: full}\n",
            "plugins:\n- type: completion-time-scorer\n  parameters: {stepMs: 0}\n",
            "plugins:\n- type: completion-time-scorer\n  parameters: {recomputeCost: .inf}\n",
            "plugins:\n- type: trusted-prefix-cache-producer\n  parameters: {rememberedWeight: 2}\n",
            "plugins: queue-scorer\n",
            "plugins:\n- queue-scorer\n",
            "plugins:\n- type: 7\n",
            "plugins:\n- type: token-producer\n  parameters: {local: {path: a}, vllm: {}}\n",
            "plugins:\n- type: token-producer\n  parameters: {local: {}}\n",
            "plugins:\n- {type: queue-scorer}\nschedulingProfiles:\n- name: p\n  plugins:\n  - {pluginRef: queue-scorer, weight: .nan}\n",
            "featureGates: [flowControl=maybe]\n",
        ],
        &expect![[r#"
            line 5, column 38: plugins[0].parameters.queueThresholdTokens: string "many" where a whole number that is not negative was expected
            line 5, column 38: plugins[0].parameters.queueThresholdTokens: integer `-1` where a whole number that is not negative was expected
            line 5, column 35: plugins[0].parameters.matchLengthWeight: number `2` where one from 0 to 1 was expected
            line 5, column 32: plugins[0].parameters.speculativeTTL: integer `2` where a string was expected
            line 5, column 32: plugins[0].parameters.speculativeTTL: `soon` where a duration like `2s`, `1m30s` or `250ms` was expected
            line 5, column 56: plugins[0].parameters.tokenProcessorConfig.blockSizeTokens: a block of 0 tokens where at least 1 was expected
            line 7, column 7: plugins[0].parameters.matchExpressions[0]: operator In of label gpu needs at least one of `values`
            line 6, column 24: plugins[0].parameters.matchLabels.gpu: integer `7` where a string was expected
            line 5, column 35: plugins[0].parameters.affinityThreshold: number `1.5` where one of at most 1 was expected
            line 5, column 40: plugins[0].parameters.explorationProbability: number `-0.1` where one from 0 to 1 was expected
            line 5, column 34: plugins[0].parameters.maxTTFTPenaltyMs: number `-1` where one that is not negative was expected
            line 5, column 39: plugins[0].parameters.peakPrefillThroughput: number `0` where one above 0 was expected
            line 5, column 28: plugins[0].parameters.ttftSource: unknown value `guess`, expected `latencyPredictor` or `prefillThroughput`
            prefix-cache-affinity-filter reads predicted latencies of producer predicted-latency-producer, which is not there; producers: approx-prefix-cache-producer
            line 5, column 35: plugins[0].parameters.epsilonExploreNeg: number `2` where one from 0 to 1 was expected
            line 5, column 15: plugins[0].parameters: field label is missing
            line 5, column 15: plugins[0].parameters.validValues: no value where at least one was expected, unless `allowsNoLabel` is true
            line 5, column 15: plugins[0].parameters: field algorithm is missing
            line 5, column 27: plugins[0].parameters.attribute: `GPU/dcgm` where a name without `/` was expected, unless `producer` is given; is it attribute `GPU` of producer `dcgm`?
            line 5, column 29: plugins[0].parameters.minAffinity: unknown value `room`, expected one of `host`, `rack`, `zone`, `region`
            line 5, column 28: plugins[0].parameters.conditions: no condition where at least one was expected
            line 5, column 108: plugins[0].parameters.conditions[1].maxValue: number `5` where one from 0 to 1 was expected
            line 5, column 32: plugins[0].parameters.maxConcurrency: number `0` where one above 0 was expected
            line 5, column 33: plugins[0].parameters.concurrencyMode: unknown value `bytes`, expected one of `hybrid`, `requests`, `tokens`
            line 5, column 38: plugins[0].parameters.kvCacheUtilThreshold: number `0` where one above 0 and of at most 1 was expected
            line 5, column 43: plugins[0].parameters.metricsStalenessThreshold: no time where some was expected
            line 5, column 23: plugins[0].parameters.label: nothing where a name was expected
            line 5, column 35: plugins[0].parameters.compositeKVWeight: number `-1` where one that is not negative was expected
            line 5, column 43: plugins[0].parameters.headroomSelectionStrategy: unknown value `some`, expected `least` or `most`
            line 5, column 103: plugins[0].parameters.algorithm.normalization.fixedRange: a range from 1 to 1 where an end above its beginning was expected
            line 5, column 90: plugins[0].parameters.algorithm.normalization: both of `fixedRange` and `adaptiveRange` are given
            line 5, column 15: plugins[0].parameters: field labelKey is missing
            line 5, column 23: plugins[0].parameters.slots: unknown value `both`, expected `sum` or `union`
            line 5, column 32: plugins[0].parameters.missingMetrics: unknown value `full`, expected `unknown` or `zero`
            line 5, column 24: plugins[0].parameters.stepMs: number `0` where one above 0 was expected
            line 5, column 31: not YAML: non-finite float `.inf` rejected by the configured policy
            line 5, column 34: plugins[0].parameters.rememberedWeight: number `2` where one from 0 to 1 was expected
            line 3, column 10: plugins: string "queue-scorer" where a list was expected
            line 4, column 3: plugins[0]: string "queue-scorer" where a map was expected
            line 4, column 9: plugins[0].type: number `7` where a string was expected
            line 5, column 15: plugins[0].parameters: more than one of `estimate`, `local`, `udsTokenizerConfig` and `vllm` is given
            line 5, column 23: plugins[0].parameters.local: field path is missing
            line 8, column 39: not YAML: non-finite float `.nan` rejected by the configured policy
            line 3, column 16: featureGates[0]: `maybe` where `true` or `false` was expected, in `flowControl=maybe`
        "#]],
    );
}

#[test]
fn a_name_that_nobody_has_is_named_with_the_nearest() {
    invalid(
        &[
            "plugins:\n- type: queue-scorrer\n",
            "plugins:\n- type: something-else-entirely\n",
            "plugins:\n- {type: queue-scorer, name: queue}\nschedulingProfiles:\n- name: p\n  plugins:\n  - pluginRef: queu\n",
            "plugins:\n- type: prefix-cache-scorer\n  parameters: {prefixMatchInfoProducerName: precise}\n",
            "featureGates: [flowcontrol]\n",
            "requestHandler: {parsers: [{pluginRef: openai}]}\n",
        ],
        &expect![[r#"
            line 4, column 9: plugins[0].type: unknown plugin type `queue-scorrer`, did you mean `queue-scorer`?
            line 4, column 9: plugins[0].type: unknown plugin type `something-else-entirely`
            line 8, column 16: schedulingProfiles[0].plugins[0].pluginRef: unknown plugin `queu`, did you mean `queue`? expected `queue`
            line 5, column 45: plugins[0].parameters.prefixMatchInfoProducerName: unknown producer of prefix matches `precise`, expected `approx-prefix-cache-producer`
            line 3, column 16: featureGates[0]: unknown feature gate `flowcontrol`, did you mean `flowControl`? expected `flowControl` or `haPopulateNonLeaderDatastore`
            line 3, column 40: requestHandler.parsers[0].pluginRef: unknown plugin `openai`: none is taken here
        "#]],
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    invalid(
        &[
            "plugins:\n- type: queue-scorer\n- type: queue-scorer\n",
            "plugins:\n- type: max-score-picker\n- type: random-picker\n",
            "schedulingProfiles:\n- {name: a}\n- {name: a}\n",
            "schedulingProfiles:\n- {name: a}\n- {name: b}\n",
            "plugins:\n- type: single-profile-handler\nschedulingProfiles:\n- {name: a}\n- {name: b}\n",
            "plugins:\n- type: single-profile-handler\n- {type: single-profile-handler, name: second}\n",
            "plugins:\n- type: openai-parser\nschedulingProfiles:\n- name: a\n  plugins:\n  - pluginRef: openai-parser\n",
            "plugins:\n- type: session-affinity-scorer\n",
            "plugins:\n- type: inflight-load-producer\n- {type: inflight-load-producer, name: second}\n",
            "plugins:\n- type: queue-scorer\ndataLayer: {sources: [{pluginRef: queue-scorer}]}\n",
        ],
        &expect![[r#"
            line 5, column 3: plugins[1]: two plugins are called `queue-scorer`; give each a `name`
            profile `default` has two pickers, `max-score-picker` and `random-picker`
            line 5, column 3: schedulingProfiles[1]: two profiles are called `a`
            there are 2 profiles and no profile handler that chooses between them
            single-profile-handler runs one profile, and there are 2
            there are two profile handlers, `single-profile-handler` and `second`
            line 8, column 16: schedulingProfiles[0].plugins[0].pluginRef: `openai-parser` where a filter, a scorer or a picker was expected
            plugin `session-affinity-scorer` is experimental; allow experimental plugins to use it
            `second` is a second inflight-load-producer, and requests are counted once
            line 5, column 35: dataLayer.sources[0].pluginRef: `queue-scorer` where a data source was expected
        "#]],
    );
}

#[test]
fn what_cannot_be_meant_is_named_where_it_stands() {
    let rollout = |scope: &str, selectors: &str, gating: &str| {
        format!(
            "plugins:\n- type: disaggregatedset-rollout-screener\n  parameters:\n    scope: {{labelSelector: {scope}}}\n    \
             headerSelectors: [{selectors}]\n    revisionGating: {{{gating}}}\n"
        )
    };
    let reporter = |expression: &str, condition: &str| {
        format!(
            "plugins:\n- type: request-attribute-reporter\n  parameters:\n    attributes:\n    - key: {{name: cost}}\n      \
             expression: {expression}\n      condition: {condition}\n"
        )
    };
    let strict = "{name: r, headerName: x-r, labelKey: rev, mode: strict}";
    let other = "{name: s, headerName: X-R, labelKey: rev, mode: prefer}";
    let bodies = [
        "plugins:\n- type: session-id-producer\n".to_owned(),
        "plugins:\n- type: session-id-producer\n  parameters: {headerName: a, cookieName: b}\n".to_owned(),
        "plugins:\n- type: session-affinity-filter\n  parameters: {sessionIdConfig: {sources: [{header: a}, {header: a, attribute: b}]}}\n".to_owned(),
        "plugins:\n- type: session-affinity-filter\n  parameters: {sessionIdConfig: {evictionTtlSeconds: -1}}\n".to_owned(),
        "plugins:\n- type: session-affinity-filter\n  parameters: {sessionHashConfig: {header: a, sources: [{header: b}]}}\n".to_owned(),
        "plugins:\n- type: approx-prefix-cache-producer\n  parameters: {counting: llmd}\n".to_owned(),
        "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {tierWeights: measure}\n".to_owned(),
        "plugins:\n- type: p2p-source-producer\n  parameters: {minCachedTokenDelta: 0}\n".to_owned(),
        "plugins:\n- type: latency-slo-admitter\n  parameters: {denialStatus: 200}\n".to_owned(),
        "plugins:\n- type: probabilistic-admitter\n  parameters: {power: 0}\n".to_owned(),
        rollout("''", strict, "mode: disabled"),
        rollout("'app on (a)'", strict, "mode: disabled"),
        rollout("app=a", &format!("{strict}, {other}"), "mode: disabled"),
        rollout("app=a", strict, "mode: sum"),
        rollout("app=a", strict, "mode: sum, requireRoles: {values: [decode, decode]}"),
        rollout("app=a", strict, "mode: max"),
        reporter("usage.prompt_tokens +", "'true'"),
        reporter("usage.tokens", "'true'"),
        reporter("1 < 2", "'true'"),
        reporter("'1'", "'1'"),
    ];
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    invalid(
        &bodies,
        &expect![[r#"
            line 4, column 3: plugins[0].parameters: exactly one of `headerName` and `cookieName` was expected
            line 5, column 15: plugins[0].parameters: exactly one of `headerName` and `cookieName` was expected
            line 5, column 57: plugins[0].parameters.sessionIdConfig.sources[1]: exactly one of `header` and `attribute` was expected
            line 5, column 54: plugins[0].parameters.sessionIdConfig.evictionTtlSeconds: number `-1` where one that is not negative was expected
            line 5, column 35: plugins[0].parameters.sessionHashConfig: `header` and `sources` are given where one of them was expected
            line 5, column 26: plugins[0].parameters.counting: unknown value `llmd`, did you mean `llm-d`? expected `contiguous` or `llm-d`
            line 5, column 29: plugins[0].parameters.tierWeights: unknown value `measure`, did you mean `measured`? expected `configured` or `measured`
            line 5, column 37: plugins[0].parameters.minCachedTokenDelta: 0 where at least 1 was expected
            line 5, column 30: plugins[0].parameters.denialStatus: status 200 where one from 400 to 599 was expected
            line 5, column 23: plugins[0].parameters.power: number `0` where one above 0 was expected
            line 6, column 28: plugins[0].parameters.scope.labelSelector: nothing where a label selector like `app=vllm` was expected
            line 6, column 28: plugins[0].parameters.scope.labelSelector: requirement "app on (a)" where one was expected like `key`, `!key`, `key=value`, `key!=value`, `key in (a,b)` or `key notin (a,b)`
            line 7, column 102: plugins[0].parameters.headerSelectors[1].headerName: two selectors are by header `X-R`
            line 8, column 21: plugins[0].parameters.revisionGating.requireRoles: no role in `values` where at least one was expected
            line 8, column 65: plugins[0].parameters.revisionGating.requireRoles.values[1]: role `decode` is given twice
            line 8, column 28: plugins[0].parameters.revisionGating.mode: unknown value `max`, expected one of `disabled`, `max-role`, `sum`
            line 8, column 19: plugins[0].parameters.attributes[0].expression: line 1, column 22 of the expression: nothing where a value was expected
            line 8, column 19: plugins[0].parameters.attributes[0].expression: line 1, column 1 of the expression: `usage.tokens` where one of `usage.completion_tokens`, `usage.prompt_tokens`, `usage.prompt_tokens_details`, `usage.prompt_tokens_details.cached_tokens`, `usage.total_tokens` was expected
            line 8, column 19: plugins[0].parameters.attributes[0].expression: it comes to a condition, where a number was expected
            line 9, column 18: plugins[0].parameters.attributes[0].condition: it comes to a whole number, where a condition was expected
        "#]],
    );
}

#[test]
fn what_llm_d_has_and_llmd_has_not_is_refused_by_name() {
    said(
        &[
            "plugins:\n- type: burst-prefix-cache-producer\n",
            "plugins:\n- type: precise-prefix-cache-scorer\n  parameters: {indexerConfig: {tokenizersPoolConfig: {}}}\n",
            "plugins:\n- type: edf-ordering-policy\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {indexerConfig: {kvBlockIndexConfig: {redisConfig: {}}}}\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {kvEventsConfig: {zmqEndpoint: 'tcp://*:5557'}}\n",
            "plugins:\n- type: precise-prefix-cache-producer\n  parameters: {kvEventsConfig: {discoverPods: false}}\n",
            "plugins:\n- type: k8s-notification-source\n",
            "plugins:\n- type: predicted-latency-producer\n",
            "plugins:\n- type: multicluster-queue-scorer\n",
            "featureGates: [flowControl]\n",
            "dataLayer: {peerDiscovery: {pluginRef: peers}}\n",
            "dataLayer: {crossReplicaSyncerPluginRef: local-syncer}\n",
        ],
        ErrorKind::Unsupported,
        &expect![[r#"
            line 4, column 9: plugins[0].type: plugin type `burst-prefix-cache-producer` is not supported: use approx-prefix-cache-producer; bursts spread by the reservation at pick
            line 5, column 54: plugins[0].parameters.indexerConfig.tokenizersPoolConfig: not supported: tokens come from a producer of their own; use token-producer
            line 4, column 9: plugins[0].type: plugin type `edf-ordering-policy` is not supported: flow control is not there yet; leave it out, and bound requests at the gateway
            line 5, column 66: plugins[0].parameters.indexerConfig.kvBlockIndexConfig.redisConfig: not supported: the index is in memory; use `inMemoryConfig`
            line 5, column 46: plugins[0].parameters.kvEventsConfig.zmqEndpoint: not supported: engines that connect to the router are not there yet; let it connect to them, by `podDiscoveryConfig`
            line 5, column 47: plugins[0].parameters.kvEventsConfig.discoverPods: events need endpoints that are discovered; leave it out
            line 4, column 9: plugins[0].type: plugin type `k8s-notification-source` is not supported: give the gateway an endpoints file
            line 4, column 9: plugins[0].type: plugin type `predicted-latency-producer` is not supported: use queue-scorer and token-load-scorer
            line 4, column 9: plugins[0].type: plugin type `multicluster-queue-scorer` is not supported: run one scheduler per cluster
            line 3, column 16: featureGates[0]: feature gate flowControl: flow control is not there yet; leave it out, and bound requests at the gateway
            line 3, column 28: dataLayer.peerDiscovery: not supported: replicas do not share state yet; leave it out
            line 3, column 42: dataLayer.crossReplicaSyncerPluginRef: not supported: replicas do not share state yet; leave it out
        "#]],
    );
}

#[test]
fn a_document_of_another_sort_is_refused() {
    let mut all = String::new();
    for text in [
        "",
        "# nothing\n",
        "plugins: []\n",
        "apiVersion: v1\nkind: Pod\n",
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfigs\n",
        "just text",
        "a: [1, 2\n",
        "a: 1\na: 2\n",
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n---\nkind: second\n",
        "a: *nowhere\n",
    ] {
        let error = EndpointPickerConfig::from_yaml(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        all += &format!("{error}\n");
    }
    expect![[r#"
        an empty document where an EndpointPickerConfig was expected
        an empty document where an EndpointPickerConfig was expected
        line 1, column 1: field apiVersion is missing
        line 1, column 13: apiVersion: unknown version `v1`, expected `llm-d.ai/v1alpha1` or `inference.networking.x-k8s.io/v1alpha1`
        line 2, column 7: kind: unknown kind `EndpointPickerConfigs`, did you mean `EndpointPickerConfig`? expected `EndpointPickerConfig`
        line 1, column 1: string "just text" where a map was expected
        line 1, column 4: not YAML: unclosed bracket '['
        line 2, column 1: key `a` is given twice
        line 4, column 1: a second document where one was expected
        line 1, column 4: not YAML: alias references unknown anchor
    "#]].assert_eq(&all);
}

#[test]
fn experimental_plugins_are_taken_when_they_are_allowed() {
    let text = format!("{HEAD}plugins:\n- type: session-affinity-filter\n");
    assert!(Scheduler::from_yaml(&text).unwrap().allow_experimental(true).build().is_ok());
    assert!(Scheduler::from_yaml(&text).unwrap().build().is_err());
}

/// What llm-d's own example says of the parts that are there, written as there.
const EXAMPLE: &str = r#"
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: ["flowControl=false", "haPopulateNonLeaderDatastore=false"]
plugins:
- {type: openai-parser}
- {type: token-producer, parameters: {modelName: Qwen/Qwen3-32B, vllm: {url: http://localhost:8000, timeout: 7s, mmTimeout: 30s}}}
- {type: endpoint-notification-source}
- type: precise-prefix-cache-producer
  parameters:
    tokenProcessorConfig: {blockSizeTokens: 64, hashSeed: "42", hashAlgorithm: cbor-fnv}
    indexerConfig:
      kvBlockIndexConfig: {inMemoryConfig: {size: 100000000, podCacheSize: 10}, enableMetrics: true}
      kvCacheBackendConfigs: [{name: gpu, weight: 1.0}, {name: cpu, weight: 0.8}]
    kvEventsConfig: {topicFilter: "kv@", concurrency: 4, engineType: vllm, discoverPods: true,
                     podDiscoveryConfig: {podLabelSelector: "llm-d.ai/inference-serving=true", socketPort: 5557, replaySocketPort: 5558}}
    speculativeIndexing: true
    speculativeTTL: 2s
- {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}}
- {type: queue-scorer}
- {type: kv-cache-utilization-scorer}
- {type: decode-filter}
- {type: max-score-picker, parameters: {maxNumOfEndpoints: 1}}
- {type: static-usage-limit-policy, parameters: {threshold: 1.0}}
schedulingProfiles:
- {name: decode,  plugins: [{pluginRef: decode-filter}, {pluginRef: prefix-cache-scorer, weight: 3}, {pluginRef: queue-scorer, weight: 2}, {pluginRef: max-score-picker}]}
dataLayer:
  injectDefaults: true
  sources:
  - {pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}
  - {pluginRef: endpoint-notification-source, extractors: [{pluginRef: precise-prefix-cache-producer}]}
requestHandler:
  parsers: [{pluginRef: openai-parser}]
"#;

#[test]
fn llm_ds_own_example_loads_unchanged() {
    let config = EndpointPickerConfig::from_yaml(EXAMPLE).unwrap();
    let events = config.kv_events().unwrap();
    assert_eq!((events.socket_port, events.replay_socket_port, events.block_size), (5557, Some(5558), Some(64)));
    assert_eq!((events.topic_filter.as_str(), events.max_blocks), ("kv@", 100_000_000));
    let tokens = config.token_producer();
    assert_eq!(tokens.model_name.as_deref(), Some("Qwen/Qwen3-32B"));
    let TokenBackend::Vllm { url, timeout, mm_timeout } = tokens.backend else { panic!("{:?}", tokens.backend) };
    assert_eq!(
        (url.as_str(), timeout, mm_timeout),
        ("http://localhost:8000", Duration::from_secs(7), Duration::from_secs(30))
    );
    assert_eq!(config.plugins().len(), 10);

    let (_, reader) = ExactIndex::new(IndexSettings::default().with_block_size(64));
    let scheduler = Scheduler::builder(config).with_index(reader).build().unwrap();
    expect![[r#"
        handler: single-profile-handler
        profile decode: decode-filter → prefix-cache-scorer × 3 → queue-scorer × 2 → max-score-picker
        producer: precise-prefix-cache-producer
        precise-prefix-cache-producer: blocks of 64 tokens, speculative, weights of media as configured
        prefix-cache-scorer: reads precise-prefix-cache-producer
        added: single-profile-handler, since there is one profile and no handler
        needs: tokens, metrics, KV events
    "#]]
    .assert_eq(&scheduler.describe().to_string());
}

#[test]
fn every_default_is_llm_ds() {
    let plugins = "plugins: [{type: decode-filter}, {type: queue-scorer}, {type: weighted-random-picker}]\n";
    let scheduler = Scheduler::from_yaml(&format!("{HEAD}{plugins}")).unwrap().build().unwrap();
    expect![[r#"
        handler: single-profile-handler
        profile default: decode-filter → queue-scorer × 1 → weighted-random-picker
        added: profile default, of every filter, scorer and picker, since there is no profile
        added: single-profile-handler, since there is one profile and no handler
        needs: metrics
    "#]]
    .assert_eq(&scheduler.describe().to_string());
}

#[test]
fn a_precise_scorer_brings_its_producer_unless_there_is_one() {
    let built = |plugins: &str| {
        let config = EndpointPickerConfig::from_yaml(&format!("{HEAD}plugins:\n{plugins}")).unwrap();
        let port = config.kv_events().unwrap().socket_port;
        let (_, reader) = ExactIndex::new(IndexSettings::default());
        (port, Scheduler::builder(config).with_index(reader).build().unwrap().describe().to_string())
    };
    let scorer =
        "- type: precise-prefix-cache-scorer\n  parameters: {kvEventsConfig: {podDiscoveryConfig: {socketPort: 1}}}\n";
    let (port, alone) = built(scorer);
    assert_eq!(port, 1);
    expect![[r#"
        handler: single-profile-handler
        profile default: precise-prefix-cache-scorer × 1 → max-score-picker
        producer: precise-prefix-cache-scorer
        precise-prefix-cache-scorer: blocks of 16 tokens, not speculative, weights of media as configured
        precise-prefix-cache-scorer: reads precise-prefix-cache-scorer
        added: profile default, of every filter, scorer and picker, since there is no profile
        added: single-profile-handler, since there is one profile and no handler
        added: max-score-picker to profile default, which has no picker
        added: token-producer, which estimates, since precise-prefix-cache-scorer reads what it makes
        needs: tokens, KV events
    "#]]
    .assert_eq(&alone);
    let (port, beside) = built(&format!("{scorer}- {{type: precise-prefix-cache-producer, name: precise}}\n"));
    assert_eq!(port, 5557);
    expect![[r#"
        handler: single-profile-handler
        profile default: precise-prefix-cache-scorer × 1 → max-score-picker
        producer: precise
        precise: blocks of 16 tokens, not speculative, weights of media as configured
        precise-prefix-cache-scorer: reads precise
        added: profile default, of every filter, scorer and picker, since there is no profile
        added: single-profile-handler, since there is one profile and no handler
        added: max-score-picker to profile default, which has no picker
        added: token-producer, which estimates, since precise-prefix-cache-scorer reads what it makes
        needs: tokens, KV events
    "#]]
    .assert_eq(&beside);
}
