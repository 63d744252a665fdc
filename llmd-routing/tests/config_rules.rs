//! llm-d's rules for a configuration, one test each: what breaks them is said in these words, with kind and place.

use llmd_core::ErrorKind::{self, Invalid, Unsupported};
use llmd_routing::EndpointPickerConfig;
use llmd_routing::config::{Check, Parser};

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

fn text(body: &str) -> String {
    format!("{HEAD}{body}\n")
}

/// Each body breaks the rule once, and just this is said of it.
fn broken(kind: ErrorKind, table: &[(&str, &str)]) {
    for (body, message) in table {
        let problems = EndpointPickerConfig::check(&text(body), Check::default().with_index(false));
        let said: Vec<_> = problems.iter().map(|problem| (problem.kind, problem.to_string())).collect();
        assert_eq!(said, [(kind, (*message).to_owned())], "{body}");
    }
}

/// Each body keeps the rule.
fn kept(bodies: &[&str]) {
    for body in bodies {
        let problems = EndpointPickerConfig::check(&text(body), Check::default());
        assert!(problems.is_empty(), "{body}: {}", problems[0]);
    }
}

#[test]
fn a_plugin_has_a_type() {
    broken(
        Invalid,
        &[
            ("plugins: [{name: a}]", "line 3, column 11: plugins[0]: field type is missing"),
            ("plugins: [{type: null}]", "line 3, column 11: plugins[0]: field type is missing"),
            ("plugins: [{type: [a]}]", "line 3, column 18: plugins[0].type: a list where a string was expected"),
        ],
    );
}

#[test]
fn a_plugin_s_name_is_its_own_and_is_its_type_when_it_has_none() {
    let second = "line 3, column 33: plugins[1]: two plugins are called `queue-scorer`; give each a `name`";
    broken(
        Invalid,
        &[
            ("plugins: [{type: queue-scorer}, {type: queue-scorer}]", second),
            ("plugins: [{type: queue-scorer}, {type: decode-filter, name: queue-scorer}]", second),
        ],
    );
    kept(&["plugins: [{type: queue-scorer}, {type: queue-scorer, name: second}, {type: decode-filter, name: ''}]"]);
}

#[test]
fn a_type_is_one_that_there_is() {
    broken(Invalid, &[("plugins: [{type: queue}]", "line 3, column 18: plugins[0].type: unknown plugin type `queue`")]);
    broken(
        Unsupported,
        &[
            (
                "plugins: [{type: predicted-latency-producer}]",
                "line 3, column 18: plugins[0].type: plugin type `predicted-latency-producer` is not supported: use queue-scorer and token-load-scorer",
            ),
            (
                "plugins: [{type: k8s-notification-source}]",
                "line 3, column 18: plugins[0].type: plugin type `k8s-notification-source` is not supported: give the gateway an endpoints file",
            ),
        ],
    );
}

#[test]
fn a_feature_gate_is_known_and_on_or_off() {
    broken(
        Invalid,
        &[
            (
                "featureGates: [flowcontrol]",
                "line 3, column 16: featureGates[0]: unknown feature gate `flowcontrol`, did you mean `flowControl`? expected `flowControl` or `haPopulateNonLeaderDatastore`",
            ),
            (
                "featureGates: [flowControl=off]",
                "line 3, column 16: featureGates[0]: `off` where `true` or `false` was expected, in `flowControl=off`",
            ),
        ],
    );
    broken(
        Unsupported,
        &[(
            "featureGates: [flowControl]",
            "line 3, column 16: featureGates[0]: feature gate flowControl: flow control is not there yet; leave it out, and bound requests at the gateway",
        )],
    );
    kept(&["featureGates: [flowControl=False, haPopulateNonLeaderDatastore=1]", "featureGates: []", "featureGates:"]);
}

#[test]
fn a_profile_has_a_name_of_its_own() {
    broken(
        Invalid,
        &[
            ("schedulingProfiles: [{plugins: []}]", "line 3, column 22: schedulingProfiles[0]: field name is missing"),
            (
                "schedulingProfiles: [{name: ''}]",
                "line 3, column 29: schedulingProfiles[0].name: an empty string where a name was expected",
            ),
            (
                "schedulingProfiles: [{name: a}, {name: a}]",
                "line 3, column 33: schedulingProfiles[1]: two profiles are called `a`",
            ),
        ],
    );
}

#[test]
fn a_profile_refers_to_filters_scorers_and_pickers_that_there_are() {
    broken(
        Invalid,
        &[
            (
                "schedulingProfiles: [{name: a, plugins: [{weight: 1}]}]",
                "line 3, column 42: schedulingProfiles[0].plugins[0]: field pluginRef is missing",
            ),
            (
                "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: queue}]}]",
                "line 4, column 54: schedulingProfiles[0].plugins[0].pluginRef: unknown plugin `queue`, expected `queue-scorer`",
            ),
            (
                "plugins: [{type: openai-parser}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: openai-parser}]}]",
                "line 4, column 54: schedulingProfiles[0].plugins[0].pluginRef: `openai-parser` where a filter, a scorer or a picker was expected",
            ),
        ],
    );
    kept(&[
        "plugins: [{type: decode-filter}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: decode-filter, weight: 7}]}]",
    ]);
}

#[test]
fn a_profile_has_one_picker() {
    broken(
        Invalid,
        &[
            (
                "plugins: [{type: max-score-picker}, {type: random-picker}]",
                "profile `default` has two pickers, `max-score-picker` and `random-picker`",
            ),
            (
                "plugins: [{type: max-score-picker}, {type: random-picker}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: max-score-picker}, {pluginRef: random-picker}]}]",
                "line 4, column 22: schedulingProfiles[0]: profile `a` has two pickers, `max-score-picker` and `random-picker`",
            ),
        ],
    );
}

#[test]
fn there_is_one_profile_handler_which_can_run_as_many_profiles_as_there_are() {
    broken(
        Invalid,
        &[
            (
                "schedulingProfiles: [{name: a}, {name: b}]",
                "line 3, column 33: schedulingProfiles[1]: there are 2 profiles and no profile handler that chooses between them",
            ),
            (
                "plugins: [{type: single-profile-handler}]\nschedulingProfiles: [{name: a}, {name: b}]",
                "line 3, column 11: plugins[0]: single-profile-handler runs one profile, and there are 2",
            ),
            (
                "plugins: [{type: single-profile-handler}, {type: data-parallel-profile-handler}]",
                "line 3, column 43: plugins[1]: there are two profile handlers, `single-profile-handler` and `data-parallel-profile-handler`",
            ),
        ],
    );
}

#[test]
fn a_handler_finds_its_profiles_and_deciders() {
    broken(
        Invalid,
        &[
            (
                "plugins: [{type: disagg-profile-handler, parameters: {deciders: {prefill: nobody}}}]\nschedulingProfiles: [{name: decode}, {name: prefill}]",
                "`disagg-profile-handler` asks decider `nobody`, which is not there; deciders: none",
            ),
            (
                "plugins: [{type: disagg-profile-handler}]\nschedulingProfiles: [{name: a}, {name: b}]",
                "`disagg-profile-handler` runs profile `decode`, which is not there; profiles: a, b",
            ),
        ],
    );
}

#[test]
fn a_parser_is_one() {
    broken(
        Invalid,
        &[
            (
                "requestHandler: {parsers: [{pluginRef: openai}]}",
                "line 3, column 40: requestHandler.parsers[0].pluginRef: unknown plugin `openai`: none is taken here",
            ),
            (
                "plugins: [{type: queue-scorer}]\nrequestHandler: {parsers: [{pluginRef: queue-scorer}]}",
                "line 4, column 40: requestHandler.parsers[0].pluginRef: `queue-scorer` where a parser was expected",
            ),
            (
                "plugins: [{type: queue-scorer}]\nparser: {pluginRef: queue-scorer}",
                "line 4, column 21: parser.pluginRef: `queue-scorer` where a parser was expected",
            ),
        ],
    );
    kept(&["parser: {pluginRef: sglanghttp-parser}", "requestHandler: {parsers: [{pluginRef: vertexai-parser}]}"]);
}

#[test]
fn parsers_keep_their_order_and_the_newer_field_counts() {
    let parsers = |body: &str| EndpointPickerConfig::from_yaml(&text(body)).unwrap().parsers().to_vec();
    assert_eq!(parsers(""), Parser::DEFAULT);
    assert_eq!(parsers("requestHandler: {parsers: []}"), Parser::DEFAULT);
    assert_eq!(parsers("parser: {pluginRef: vllmhttp-parser}"), [Parser::VllmHttp]);
    assert_eq!(
        parsers("parser: {pluginRef: vllmhttp-parser}\nrequestHandler: {parsers: [{pluginRef: openai-parser}]}"),
        [Parser::OpenAi]
    );
    let twice = "plugins: [{type: openai-parser, name: a}]\nrequestHandler: {parsers: [{pluginRef: a}, {pluginRef: openai-parser}, {pluginRef: passthrough-parser}, {pluginRef: anthropic-parser}]}";
    assert_eq!(parsers(twice), [Parser::OpenAi, Parser::Passthrough]);
    let config = EndpointPickerConfig::from_yaml(&text(twice)).unwrap();
    assert_eq!(
        config.warnings(),
        [
            "line 4, column 44: openai-parser is skipped: it is there already",
            "line 4, column 105: anthropic-parser is skipped: passthrough-parser before it takes what is left over",
        ]
    );
}

#[test]
fn a_detector_of_saturation_is_one() {
    broken(
        Invalid,
        &[
            (
                "saturationDetector: {pluginRef: nobody}",
                "line 3, column 33: saturationDetector.pluginRef: unknown plugin `nobody`: none is taken here",
            ),
            (
                "plugins: [{type: queue-scorer}]\nflowControl: {saturationDetector: {pluginRef: queue-scorer}}",
                "line 4, column 47: flowControl.saturationDetector.pluginRef: `queue-scorer` where a detector of saturation was expected",
            ),
        ],
    );
    let detector =
        |body: &str| EndpointPickerConfig::from_yaml(&text(body)).unwrap().saturation_detector().map(str::to_owned);
    assert_eq!(detector(""), None);
    assert_eq!(detector("saturationDetector: {}").as_deref(), Some("utilization-detector"));
    assert_eq!(
        detector("plugins: [{type: concurrency-detector, name: c}]\nsaturationDetector: {}\nflowControl: {saturationDetector: {pluginRef: c}}").as_deref(),
        Some("c")
    );
}

#[test]
fn a_data_source_and_an_extractor_are_that() {
    broken(
        Invalid,
        &[
            (
                "plugins: [{type: queue-scorer}]\ndataLayer: {sources: [{pluginRef: queue-scorer}]}",
                "line 4, column 35: dataLayer.sources[0].pluginRef: `queue-scorer` where a data source was expected",
            ),
            (
                "plugins: [{type: queue-scorer}]\ndataLayer: {sources: [{pluginRef: metrics-data-source, extractors: [{pluginRef: queue-scorer}]}]}",
                "line 4, column 81: dataLayer.sources[0].extractors[0].pluginRef: `queue-scorer` where an extractor was expected",
            ),
            (
                "dataLayer: {discovery: {pluginRef: file-discovery}}",
                "line 3, column 36: dataLayer.discovery.pluginRef: unknown plugin `file-discovery`: none is taken here",
            ),
            ("plugins: [{type: file-discovery}]", "line 3, column 11: plugins[0].parameters: field path is missing"),
            (
                "plugins: [{type: metrics-data-source, parameters: {port: 0}}]",
                "line 3, column 58: plugins[0].parameters.port: port `0` where one from 1 to 65535 was expected",
            ),
            (
                "plugins: [{type: metrics-data-source, parameters: {scheme: ftp}}]",
                "line 3, column 60: plugins[0].parameters.scheme: unknown value `ftp`, expected `http` or `https`",
            ),
            (
                "plugins: [{type: models-data-source, parameters: {scheme: https, clientCertPath: a}}]",
                "line 3, column 82: plugins[0].parameters.clientCertPath: clientCertPath is given without clientKeyPath",
            ),
        ],
    );
    broken(
        Unsupported,
        &[
            (
                "dataLayer: {peerDiscovery: {pluginRef: a}}",
                "line 3, column 28: dataLayer.peerDiscovery: not supported: replicas do not share state yet; leave it out",
            ),
            (
                "dataLayer: {crossReplicaSyncerPluginRef: a}",
                "line 3, column 42: dataLayer.crossReplicaSyncerPluginRef: not supported: replicas do not share state yet; leave it out",
            ),
        ],
    );
    kept(&["dataLayer: {injectDefaults: false}", "dataLayer: {crossReplicaSyncInterval: 1s}"]);
}

#[test]
fn a_producer_that_is_named_is_there() {
    broken(
        Invalid,
        &[
            (
                "plugins: [{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: nobody}}]",
                "line 3, column 81: plugins[0].parameters.prefixMatchInfoProducerName: unknown producer of prefix matches `nobody`, expected `approx-prefix-cache-producer`",
            ),
            (
                "plugins: [{type: precise-prefix-cache-producer}]",
                "line 3, column 11: plugins[0]: `precise-prefix-cache-producer` asks an index of KV events, and the scheduler was built without one",
            ),
            (
                "plugins: [{type: inflight-load-producer}, {type: inflight-load-producer, name: second}]",
                "line 3, column 43: plugins[1]: `second` is a second inflight-load-producer, and requests are counted once",
            ),
        ],
    );
}

#[test]
fn an_experimental_plugin_is_allowed_or_refused() {
    let body = "plugins: [{type: session-affinity-scorer}]";
    broken(
        Invalid,
        &[(
            body,
            "line 3, column 11: plugins[0]: plugin `session-affinity-scorer` is experimental; allow experimental plugins to use it",
        )],
    );
    assert_eq!(EndpointPickerConfig::check(&text(body), Check::default().allow_experimental(true)), []);
}

#[test]
fn flow_control_that_is_off_is_read_all_the_same() {
    broken(
        Invalid,
        &[
            (
                "flowControl: {maxRequests: -1}",
                "line 3, column 28: flowControl.maxRequests: quantity `-1` where one that is not negative was expected",
            ),
            (
                "flowControl: {maxBytes: -10Gi}",
                "line 3, column 25: flowControl.maxBytes: quantity `-10Gi` where one that is not negative was expected",
            ),
            (
                "flowControl: {maxBytes: 10GB}",
                "line 3, column 25: flowControl.maxBytes: `10GB` where a quantity like `10Gi`, `20k` or `5000` was expected",
            ),
            (
                "flowControl: {maxByte: 1}",
                "line 3, column 15: flowControl.maxByte: unknown field `maxByte`, did you mean `maxBytes`? expected one of `maxBytes`, `maxRequests`, `defaultRequestTTL`, `noEndpointRequestTTL`, `defaultPriorityBand`, `defaultNegativePriorityBand`, `priorityBands`, `usageLimitPolicyPluginRef`, `saturationDetector`, `enableEviction`",
            ),
            (
                "flowControl: {priorityBands: [{priority: 1}, {priority: 2}, {priority: 1}]}",
                "line 3, column 61: flowControl.priorityBands[2]: two bands have priority 1",
            ),
            (
                "flowControl: {priorityBands: [{fairnessPolicyRef: fcfs-ordering-policy}]}",
                "line 3, column 51: flowControl.priorityBands[0].fairnessPolicyRef: unknown plugin `fcfs-ordering-policy`: none is taken here",
            ),
            (
                "flowControl: {defaultRequestTTL: 60}",
                "line 3, column 34: flowControl.defaultRequestTTL: integer `60` where a string was expected",
            ),
        ],
    );
    let config = EndpointPickerConfig::from_yaml(&text("flowControl: {maxRequests: 20k}")).unwrap();
    assert_eq!(config.flow_control().unwrap().max_requests, Some(20_000));
    assert_eq!(
        config.warnings(),
        [
            "line 3, column 14: flowControl: has no effect while feature gate flowControl is off, but for saturationDetector"
        ]
    );
    let detector = EndpointPickerConfig::from_yaml(&text("flowControl: {saturationDetector: {}}")).unwrap();
    assert!(detector.warnings().is_empty(), "{:?}", detector.warnings());
}

#[test]
fn tokens_come_from_one_backend_and_a_model_has_a_name() {
    broken(
        Invalid,
        &[
            (
                "plugins: [{type: token-producer, parameters: {vllm: {}}}]",
                "line 3, column 46: plugins[0].parameters: field modelName is missing",
            ),
            (
                "plugins: [{type: token-producer, parameters: {modelName: m, estimate: {}}}]",
                "line 3, column 58: plugins[0].parameters.modelName: a model where tokens are estimated; leave `modelName` or `estimate` out",
            ),
            (
                "plugins: [{type: token-producer, parameters: {modelName: m, vllm: {}, udsTokenizerConfig: {socketFile: s}}}]",
                "line 3, column 46: plugins[0].parameters: more than one of `estimate`, `local`, `udsTokenizerConfig` and `vllm` is given",
            ),
            (
                "plugins: [{type: tokenizer, parameters: {estimate: {image: {mode: fixed}}}}]",
                "line 3, column 67: plugins[0].parameters.estimate.image.mode: unknown value `fixed`, expected `dynamic` or `static`",
            ),
        ],
    );
    kept(&[
        "plugins: [{type: token-producer, parameters: {modelName: m}}]",
        "plugins: [{type: tokenizer, parameters: {estimate: {video: {}}}}]",
    ]);
}
