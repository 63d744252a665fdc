//! Samples of configuration that together use every field of every plugin: each loads, and comes to what is written beside it.

#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;
use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_routing::config::Check;
use llmd_routing::plugin::{Attributes, Data, Hooks, Plugin, Producer};
use llmd_routing::{Endpoint, EndpointPickerConfig, Request, Scheduler};
use serde_json::Value;

/// Stands for the predictor that whoever embeds a scheduler gives it.
#[derive(Debug)]
struct Predictor;

impl Plugin for Predictor {}

impl Producer for Predictor {
    fn makes(&self) -> Data {
        Data::Latency("predicted-latency-producer".to_owned())
    }

    fn produce(&self, _: &Request, _: &[Arc<Endpoint>], _: Duration, _: &mut Attributes) -> Option<Box<dyn Hooks>> {
        None
    }
}

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    samples.sort();
    samples
}

/// What a sample comes to: the scheduler, what is for the shell, and the warnings.
fn comes_to(text: &str) -> String {
    let config = EndpointPickerConfig::from_yaml(text).unwrap();
    let mut all = String::new();
    all += &format!("parsers: {:?}\n", config.parsers());
    all += &format!("tokens: {:?}\n", config.token_producer());
    for source in config.http_sources() {
        all += &format!("source: {source:?}\n");
    }
    all += &format!("data layer: {:?}\n", config.data_layer());
    if let Some(events) = config.kv_events() {
        all += &format!("events: {events:?}\n");
    }
    if let Some(flow) = config.flow_control() {
        all += &format!("flow control: {flow:#?}\n");
    }
    if let Some(detector) = config.saturation_detector() {
        all += &format!("saturation detector: {detector}\n");
    }
    for warning in config.warnings() {
        all += &format!("warning: {warning}\n");
    }
    let (_, reader) = ExactIndex::new(IndexSettings::default());
    let builder = Scheduler::builder(config).with_index(reader).allow_experimental(true);
    let builder = builder.with_producer("predicted-latency-producer", Arc::new(Predictor));
    all + &builder.build().unwrap().describe().to_string()
}

#[test]
fn every_sample_comes_to_what_is_written_beside_it() {
    for sample in samples() {
        let said = comes_to(&fs::read_to_string(&sample).unwrap());
        expect_file![sample.with_extension("txt")].assert_eq(&said);
    }
}

#[test]
fn the_samples_have_no_problem() {
    for sample in samples() {
        let text = fs::read_to_string(&sample).unwrap();
        let problems = EndpointPickerConfig::check(&text, Check::default().allow_experimental(true));
        let problems = problems.iter().filter(|problem| !problem.message.contains("predicted-latency-producer"));
        assert_eq!(problems.collect::<Vec<_>>(), [] as [&llmd_routing::config::Problem; 0], "{}", sample.display());
    }
}

#[test]
fn the_samples_use_every_field_of_every_plugin() {
    let schema = EndpointPickerConfig::schema();
    let mut known = BTreeSet::new();
    fields(&schema, "", &mut known);
    let mut used = BTreeSet::new();
    for sample in samples() {
        let document: Value = serde_saphyr::from_str(&fs::read_to_string(sample).unwrap()).unwrap();
        written(&document, "", &mut used);
    }

    let unused: Vec<_> = known.difference(&used).collect();
    assert_eq!(unused, [] as [&String; 0], "in no sample");
    assert!(known.len() > 200, "{} fields", known.len());
}

/// The path of every field that a schema knows, those of a plugin under the name of its type.
fn fields(schema: &Value, path: &str, known: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        known.insert(path.clone());
        fields(field, &path, known);
    }
    let inner = schema.get("items").into_iter().chain(schema["anyOf"].as_array().into_iter().flatten());
    inner.for_each(|inner| fields(inner, path, known));
    for branch in schema["allOf"].as_array().into_iter().flatten() {
        let kind = branch["if"]["properties"]["type"]["const"].as_str().unwrap();
        fields(&branch["then"], &format!("{path}.{}", type_of(kind)), known);
    }
}

/// The type that an older name stands for.
fn type_of(name: &str) -> &str {
    if name == "tokenizer" { "token-producer" } else { name }
}

/// The same of a document.
fn written(value: &Value, path: &str, used: &mut BTreeSet<String>) {
    for item in value.as_array().into_iter().flatten() {
        written(item, path, used);
    }
    let kind = value["type"].as_str().filter(|_| path == ".plugins");
    if let (Some(kind), parameters) = (kind, &value["parameters"]) {
        let path = format!("{path}.{}.parameters", type_of(kind));
        written(parameters, &path, used);
        used.insert(path);
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        used.insert(path.clone());
        written(field, &path, used);
    }
}
