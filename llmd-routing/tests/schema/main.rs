//! The JSON Schema of the configuration says what is read: no more and no less.
#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

mod validate;

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use llmd_core::Result;
use llmd_routing::EndpointPickerConfig;
use serde_json::{Map, Value, json};

use crate::validate::complaint;

/// Every configuration in the checkout, by its file.
fn configurations() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["benches", "examples", "llmd-routing", "tests"] {
        gather(&root.join(folder), &mut found);
    }
    assert!(found.len() > 3, "only {} configurations were found", found.len());
    found
}

fn gather(folder: &Path, found: &mut Vec<(PathBuf, Value)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            gather(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            // What the demo fills in is no configuration yet.
            if text.contains("kind: EndpointPickerConfig") && !text.contains("${") {
                found.push((path, serde_saphyr::from_str(&text).unwrap()));
            }
        }
    }
}

fn load(document: &Value) -> Result<EndpointPickerConfig> {
    EndpointPickerConfig::from_yaml(&document.to_string())
}

#[test]
fn the_schema_in_the_documentation_is_the_one_that_is_read() {
    let schema = format!("{:#}\n", EndpointPickerConfig::schema());
    expect_file!["../../../docs/schema/endpoint-picker-config.json"].assert_eq(&schema);
}

#[test]
fn every_configuration_in_the_checkout_keeps_to_the_schema() {
    let schema = EndpointPickerConfig::schema();
    for (file, document) in configurations() {
        load(&document).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(complaint(&schema, &document), None, "{}", file.display());
    }
}

#[test]
fn an_unknown_field_is_against_the_schema_wherever_it_does_not_load() {
    let schema = EndpointPickerConfig::schema();
    let (mut taken, mut refused) = (0, 0);
    for (file, document) in configurations() {
        for place in 0.. {
            let mut broken = document.clone();
            if !with_another_field(&mut broken, &mut { place }) {
                break;
            }
            let loads = load(&broken).is_ok();
            *(if loads { &mut taken } else { &mut refused }) += 1;
            assert_eq!(complaint(&schema, &broken).is_none(), loads, "{}: {broken}", file.display());
        }
    }
    assert!(refused > 20, "{refused} were refused, {taken} taken");
}

#[test]
fn what_a_type_does_not_take_is_against_the_schema() {
    let schema = EndpointPickerConfig::schema();
    let table = [
        json!({"type": "queue-scorrer"}),
        json!({"name": "queue-scorer"}),
        json!({"type": "prefix-cache-scorer", "parameters": {"matchLengthScaleTokens": -1}}),
        json!({"type": "prefix-cache-scorer", "parameters": {"matchLengthScaleTokens": "8192"}}),
        json!({"type": "prefix-cache-scorer", "parameters": []}),
        json!({"type": "precise-prefix-cache-producer", "parameters": {"speculativeTTL": 2}}),
        json!({"type": "session-affinity-scorer", "parameters": {"strategy": "session-id"}}),
        json!({"type": "label-selector-filter", "parameters": {"matchExpressions": [{"key": "gpu", "operator": "Is"}]}}),
        json!({"type": "token-producer", "parameters": {"local": {}}}),
    ];
    for plugin in table {
        let document = json!({"apiVersion": "llm-d.ai/v1alpha1", "kind": "EndpointPickerConfig", "plugins": [plugin]});
        load(&document).expect_err(&document.to_string());
        assert!(complaint(&schema, &document).is_some(), "{document}");
    }
}

/// Puts another field into the map at this place, counting from the outermost; `false` when there are not so many.
fn with_another_field(value: &mut Value, place: &mut usize) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().any(|item| with_another_field(item, place)),
        Value::Object(fields) => {
            if *place == 0 {
                fields.insert("another".to_owned(), Value::String("value".to_owned()));
                return true;
            }
            *place -= 1;
            inner(fields).any(|field| with_another_field(field, place))
        }
        _ => false,
    }
}

fn inner(fields: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    fields.iter_mut().map(|(_, value)| value)
}
