//! Everything that is wrong with a configuration is said at once, and nothing twice.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use expect_test::expect;
use llmd_core::ErrorKind;
use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_routing::config::{Check, Problem};
use llmd_routing::{EndpointPickerConfig, Scheduler};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Value, json};

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

fn check(body: &str) -> Vec<Problem> {
    EndpointPickerConfig::check(&format!("{HEAD}{body}"), Check::default())
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn what_is_right_has_no_problem() {
    assert_eq!(check("plugins:\n- type: precise-prefix-cache-producer\n- type: queue-scorer\n"), []);
    assert_eq!(check(""), []);
}

#[test]
fn every_problem_is_said_in_the_order_of_the_text() {
    let body = "\
featureGates: [flowcontrol]
plugins:
- type: queue-scorrer
- type: prefix-cache-scorer
  parameters: {matchLengthWieght: 0.5, matchLengthScaleTokens: many}
- type: k8s-notification-source
- type: label-selector-filter
  nmae: gpus
  parameters:
    matchLabels: {gpu: 7, zone: a}
    matchExpressions:
    - {key: gpu, operator: Is}
    - {key: gpu}
schedulingProfiles:
- plugins:
  - {pluginRef: queue-scorer, weight: 1}
  - {pluginRef: prefix-cache-scorer, weight: heavy}
  - {pluginRef: nobody}
dataLayer:
  sources:
  - {pluginRef: prefix-cache-scorer}
  injectDefault: false
";
    expect![[r#"
        line 3, column 16: featureGates[0]: unknown feature gate `flowcontrol`, did you mean `flowControl`? expected `flowControl` or `haPopulateNonLeaderDatastore`
        line 5, column 9: plugins[0].type: unknown plugin type `queue-scorrer`, did you mean `queue-scorer`?
        line 7, column 16: plugins[1].parameters.matchLengthWieght: unknown field `matchLengthWieght`, did you mean `matchLengthWeight`? expected one of `matchLengthWeight`, `matchLengthScaleTokens`, `prefixMatchInfoProducerName`
        line 7, column 64: plugins[1].parameters.matchLengthScaleTokens: string "many" where a whole number from 0 to 4294967295 was expected
        line 8, column 9: plugins[2].type: plugin type `k8s-notification-source` is not supported: give the gateway an endpoints file
        line 10, column 3: plugins[3].nmae: unknown field `nmae`, expected one of `type`, `name`, `parameters`
        line 12, column 24: plugins[3].parameters.matchLabels.gpu: integer `7` where a string was expected
        line 14, column 28: plugins[3].parameters.matchExpressions[0].operator: unknown value `Is`, did you mean `In`? expected one of `In`, `NotIn`, `Exists`, `DoesNotExist`
        line 15, column 7: plugins[3].parameters.matchExpressions[1]: field operator is missing
        line 17, column 3: schedulingProfiles[0]: field name is missing
        line 19, column 46: schedulingProfiles[0].plugins[1].weight: string "heavy" where a number was expected
        line 20, column 17: schedulingProfiles[0].plugins[2].pluginRef: unknown plugin `nobody`, expected `prefix-cache-scorer` or `label-selector-filter`
        line 23, column 17: dataLayer.sources[0].pluginRef: `prefix-cache-scorer` where a data source was expected
        line 24, column 3: dataLayer.injectDefault: unknown field `injectDefault`, did you mean `injectDefaults`? expected one of `injectDefaults`, `sources`, `discovery`, `peerDiscovery`, `crossReplicaSyncerPluginRef`, `crossReplicaSyncInterval`
    "#]]
    .assert_eq(&shown(&check(body)));
}

#[test]
fn what_does_not_fit_together_is_said_with_the_rest() {
    let body = "\
plugins:
- type: single-profile-handler
- type: max-score-picker
- type: random-picker
- type: session-affinity-scorer
- type: inflight-load-producer
- {type: inflight-load-producer, name: second}
- type: precise-prefix-cache-producer
  parameters: {speculativeTTL: soon}
schedulingProfiles:
- {name: a, plugins: [{pluginRef: max-score-picker}, {pluginRef: random-picker}]}
- {name: b}
";
    let text = format!("{HEAD}{body}");
    expect![[r#"
        line 4, column 3: plugins[0]: single-profile-handler runs one profile, and there are 2
        line 7, column 3: plugins[3]: plugin `session-affinity-scorer` is experimental; allow experimental plugins to use it
        line 9, column 3: plugins[5]: `second` is a second inflight-load-producer, and requests are counted once
        line 10, column 3: plugins[6]: `precise-prefix-cache-producer` asks an index of KV events, and the scheduler was built without one
        line 11, column 32: plugins[6].parameters.speculativeTTL: `soon` where a duration like `2s`, `1m30s` or `250ms` was expected
        line 13, column 3: schedulingProfiles[0]: profile `a` has two pickers, `max-score-picker` and `random-picker`
    "#]]
    .assert_eq(&shown(&EndpointPickerConfig::check(&text, Check::default().with_index(false))));
    let problems = EndpointPickerConfig::check(&text, Check::default().allow_experimental(true));
    assert_eq!(problems.len(), 4, "{}", shown(&problems));
}

#[test]
fn who_refers_to_what_is_wrong_says_nothing_of_it() {
    let table = [
        "plugins: [{type: disagg-profile-handlr}]\nschedulingProfiles: [{name: a}, {name: b}]\n",
        "plugins: [{type: queue-scorrer}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: queue-scorer}, {pluginRef: queue-scorrer}]}]\n",
        "plugins: [{type: queue-scorrer, name: q}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}]\n",
        "plugins: [{type: queue-scorer, name: 7}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}]\n",
        "plugins: [{name: q}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}]\n",
        "plugins: [7]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}]\n",
        "plugins: 7\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}, {name: b}]\n",
        "plugin: []\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}, {name: b}]\n",
        "plugins: [{typ: queue-scorer}]\n",
        "plugins: [{type: token-producer, parameters: {local: {pth: a}}}]\n",
        "plugins: [{type: approx-prefix-cache-produce}, {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: approx-prefix-cache-produce}}]\n",
        "plugins: [{type: max-score-picker}, {type: random-picker}]\nschedulingProfiles: 7\n",
    ];
    for body in table {
        let problems = check(body);
        assert_eq!(problems.len(), 1, "{body}{}", shown(&problems));
    }
}

#[test]
fn a_text_that_is_no_configuration_has_one_problem() {
    for text in ["", "a: [1, 2\n", "just text", "a: 1\na: 2\n"] {
        let problems = EndpointPickerConfig::check(text, Check::default());
        let first = EndpointPickerConfig::from_yaml(text).expect_err(text).to_string();
        assert_eq!(shown(&problems), format!("{first}\n"));
        assert_eq!(problems[0].kind, ErrorKind::Invalid);
    }
}

#[test]
fn no_more_is_told_than_anybody_reads() {
    let body = format!("plugins:\n{}", "- type: nothing\n".repeat(2 * Check::MAX_PROBLEMS));
    assert_eq!(check(&body).len(), Check::MAX_PROBLEMS);
}

/// A configuration in which much can go wrong.
fn right() -> Value {
    json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "featureGates": ["flowControl=false"],
        "plugins": [
            {"type": "queue-scorer", "name": "queue", "parameters": {}},
            {"type": "prefix-cache-scorer", "parameters": {
                "matchLengthWeight": 0.5, "prefixMatchInfoProducerName": "precise-prefix-cache-producer",
            }},
            {"type": "precise-prefix-cache-producer", "parameters": {
                "tokenProcessorConfig": {"blockSizeTokens": 64, "hashAlgorithm": "xxh64"},
                "kvEventsConfig": {"concurrency": 4, "podDiscoveryConfig": {"socketPort": 5557}},
                "speculativeTTL": "2s",
            }},
            {"type": "label-selector-filter", "parameters": {
                "matchExpressions": [{"key": "gpu", "operator": "Exists"}, {"key": "zone", "operator": "In", "values": ["a"]}],
            }},
            {"type": "max-score-picker", "parameters": {"maxNumOfEndpoints": 2}},
        ],
        "schedulingProfiles": [{"name": "default", "plugins": [
            {"pluginRef": "queue", "weight": 2}, {"pluginRef": "prefix-cache-scorer", "weight": 3},
            {"pluginRef": "label-selector-filter"}, {"pluginRef": "max-score-picker"},
        ]}],
        "dataLayer": {"injectDefaults": true, "sources": [{"pluginRef": "metrics-data-source"}]},
    })
}

/// One way to break it: where, and what becomes of that.
type Edit = (&'static str, fn(&mut Value));

/// Edits that are independent of each other: none is inside what another takes away.
const EDITS: [Edit; 22] = [
    ("", |root| root["another"] = json!(1)),
    ("/apiVersion", |version| *version = json!("v1")),
    ("/kind", |kind| *kind = json!(7)),
    ("/featureGates/0", |gate| *gate = json!("flowControl=maybe")),
    ("/plugins/0", |plugin| plugin["another"] = json!({})),
    ("/plugins/0/parameters", |parameters| *parameters = json!([])),
    ("/plugins/1/parameters/matchLengthWeight", |weight| *weight = json!(2)),
    ("/plugins/1/parameters/prefixMatchInfoProducerName", |name| *name = json!("nobody")),
    ("/plugins/2/parameters/tokenProcessorConfig/blockSizeTokens", |size| *size = json!(-1)),
    ("/plugins/2/parameters/tokenProcessorConfig/hashAlgorithm", |name| *name = json!("md5")),
    ("/plugins/2/parameters/kvEventsConfig", |config| config["another"] = json!(null)),
    ("/plugins/2/parameters/kvEventsConfig/concurrency", |count| *count = json!("four")),
    ("/plugins/2/parameters/kvEventsConfig/podDiscoveryConfig/socketPort", |port| *port = json!(70000)),
    ("/plugins/2/parameters/speculativeTTL", |ttl| *ttl = json!("soon")),
    ("/plugins/3/parameters/matchExpressions/0/operator", |operator| *operator = json!("Is")),
    ("/plugins/3/parameters/matchExpressions/1/values/0", |value| *value = json!({})),
    ("/plugins/4/parameters/maxNumOfEndpoints", |count| *count = json!(true)),
    ("/schedulingProfiles/0/plugins/0/weight", |weight| *weight = json!("heavy")),
    ("/schedulingProfiles/0/plugins/2/pluginRef", |name| *name = json!("nobody")),
    ("/schedulingProfiles/0/plugins/3", |item| item["wieght"] = json!(1)),
    ("/dataLayer/injectDefaults", |inject| *inject = json!(1)),
    ("/dataLayer/sources/0/pluginRef", |name| *name = json!("queue")),
];

/// `/plugins/0/type` as problems write it: `plugins[0].type`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        match step.parse::<usize>() {
            Ok(place) => path += &format!("[{place}]"),
            Err(_) if path.is_empty() => path += step,
            Err(_) => path += &format!(".{step}"),
        }
    }
    path
}

proptest! {
    #[test]
    fn whatever_is_broken_in_so_many_places_is_found_in_as_many(edits in subsequence(&EDITS[..], 1..=EDITS.len())) {
        let mut document = right();
        let mut broken = BTreeSet::new();
        for (pointer, edit) in &edits {
            edit(document.pointer_mut(pointer).unwrap());
            broken.insert(path(pointer));
        }
        let text = document.to_string();

        let problems = EndpointPickerConfig::check(&text, Check::default());

        // A field that nobody knows is named itself; the others are named by their place.
        let found: BTreeSet<_> = problems.iter().map(|problem| {
            let unknown = problem.message.starts_with("unknown field");
            let above = problem.path.rsplit_once('.').map_or("", |(above, _)| above);
            if unknown { above.to_owned() } else { problem.path.clone() }
        }).collect();
        prop_assert_eq!(&found, &broken);
        prop_assert_eq!(problems.len(), edits.len());
        prop_assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
        let first = EndpointPickerConfig::from_yaml(&text).unwrap_err().to_string();
        prop_assert!(problems.iter().any(|problem| problem.to_string() == first), "{}", first);
    }
}

/// The samples of configuration.
static SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let samples = files.filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    samples.map(|file| serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect()
});

/// The pointers of everything in a document, itself left out.
fn pointers(value: &Value, above: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(place, item)| (place.to_string(), item)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.replace('/', "~1"), field)).collect(),
        _ => Vec::new(),
    };
    for (step, value) in inner {
        let pointer = format!("{above}/{step}");
        pointers(value, &pointer, all);
        all.push(pointer);
    }
}

fn junk() -> impl Strategy<Value = Value> {
    let junk = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(""),
        json!("queue-scorer"),
        json!([]),
        json!([7, {}]),
        json!({}),
        json!({"type": "decode-filter", "name": "queue-scorer"}),
    ];
    select(junk.to_vec())
}

proptest! {
    #[test]
    fn a_text_has_a_problem_when_nothing_can_be_made_of_it_and_only_then(
        sample in any::<Index>(),
        edits in prop::collection::vec((any::<Index>(), junk()), 0..4),
    ) {
        let mut document = sample.get(&SAMPLES[..]).clone();
        for (place, value) in edits {
            let mut all = Vec::new();
            pointers(&document, "", &mut all);
            if all.is_empty() {
                break;
            }
            let pointer: &String = place.get(&all);
            *document.pointer_mut(pointer).unwrap() = value;
        }
        let text = document.to_string();

        let problems = EndpointPickerConfig::check(&text, Check::default().allow_experimental(true));

        let (_, reader) = ExactIndex::new(IndexSettings::default());
        let built = EndpointPickerConfig::from_yaml(&text)
            .and_then(|config| Scheduler::builder(config).with_index(reader).allow_experimental(true).build());
        prop_assert_eq!(problems.is_empty(), built.is_ok(), "{}{:?}\n{}", shown(&problems), built.err(), text);
        let said: BTreeSet<_> = problems.iter().map(ToString::to_string).collect();
        prop_assert_eq!(said.len(), problems.len(), "{}", shown(&problems));
        if let Err(first) = EndpointPickerConfig::from_yaml(&text) {
            prop_assert!(said.contains(&first.to_string()), "{}\n{}", first, shown(&problems));
        }
    }
}
