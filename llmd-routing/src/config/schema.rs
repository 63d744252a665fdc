//! The JSON Schema of a configuration, for editors and for checks outside.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::catalogue::{TYPES, Type};
use super::document::{API_VERSIONS, EndpointPickerConfig};
use super::flow_control;
use crate::duration::GoDuration;

impl EndpointPickerConfig {
    /// The JSON Schema (draft 2020-12) of what [`from_yaml`](Self::from_yaml) reads: every plugin type, every field.
    ///
    /// What holds between fields is for [`from_yaml`](Self::from_yaml) alone to say: that a name is there, for example.
    pub fn schema() -> Value {
        let mut generator =
            SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
        let parameters: Vec<_> = TYPES.iter().map(|known| (known.name, parameters(known, &mut generator))).collect();
        let branches = parameters.iter().map(|(name, schema)| branch(name, schema)).collect();
        let flow_control = flow_control::Section::json_schema(&mut generator);
        let interval = GoDuration::json_schema(&mut generator);
        let detector = flow_control::Detector::json_schema(&mut generator);
        let mut schema = document(branches, flow_control, detector, interval).to_value();
        plain(&mut schema);
        schema
    }
}

/// Makes plain text of the descriptions, which are Rust's documentation.
fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                let paragraphs = text.split("\n\n").map(|lines| without_links(&lines.replace('\n', " ")));
                *text = paragraphs.collect::<Vec<_>>().join("\n\n");
            }
            fields.iter_mut().for_each(|(_, field)| plain(field));
        }
        _ => {}
    }
}

/// `[text](target)` and `[text]` become `text`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain += before;
        let Some((link, after)) = after.split_once(']') else { break };
        plain += link;
        rest = after.strip_prefix('(').and_then(|target| target.split_once(')')).map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// The parameters of one type; nothing at all is every default.
fn parameters(known: &Type, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = known.schema(generator);
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!(["object", "null"]);
    }
    schema
}

/// What holds of a plugin of this type.
fn branch(name: &str, parameters: &Schema) -> Value {
    json!({
        "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
        "then": {"properties": {"parameters": parameters}},
    })
}

fn document(branches: Vec<Value>, flow_control: Schema, detector: Schema, interval: Schema) -> Schema {
    let types: Vec<_> = TYPES.iter().map(|known| known.name).collect();
    let reference = json!({
        "type": "object",
        "properties": {"pluginRef": {"type": "string"}},
        "required": ["pluginRef"],
        "additionalProperties": false,
    });
    json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "EndpointPickerConfig",
        "description": "llm-d's endpoint picker configuration, as llmd reads it.",
        "type": "object",
        "properties": {
            "apiVersion": {"enum": API_VERSIONS},
            "kind": {"const": "EndpointPickerConfig"},
            "featureGates": list(&json!({
                "description": "`name`, `name=true` or `name=false`.",
                "type": "string",
                "pattern": "^(flowControl=[ ]*(0|[fF]|[fF][aA][lL][sS][eE])[ ]*|haPopulateNonLeaderDatastore(=.*)?)$",
            })),
            "plugins": list(&json!({
                "type": "object",
                "properties": {
                    "type": {"enum": types},
                    "name": {"type": ["string", "null"], "description": "The type, when it is left out."},
                    "parameters": {"type": ["object", "null"]},
                },
                "required": ["type"],
                "additionalProperties": false,
                "allOf": branches,
            })),
            "schedulingProfiles": list(&json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "plugins": list(&json!({
                        "type": "object",
                        "properties": {"pluginRef": {"type": "string"}, "weight": {"type": "number", "default": 1.0}},
                        "required": ["pluginRef"],
                        "additionalProperties": false,
                    })),
                },
                "required": ["name"],
                "additionalProperties": false,
            })),
            "dataLayer": {
                "type": "object",
                "properties": {
                    "injectDefaults": {"type": "boolean", "default": true},
                    "sources": list(&json!({
                        "type": "object",
                        "properties": {"pluginRef": {"type": "string"}, "extractors": list(&reference)},
                        "required": ["pluginRef"],
                        "additionalProperties": false,
                    })),
                    "discovery": reference,
                    "crossReplicaSyncInterval": interval,
                },
                "additionalProperties": false,
            },
            "flowControl": flow_control,
            "requestHandler": {
                "type": "object",
                "properties": {"parsers": list(&reference)},
                "additionalProperties": false,
            },
            "saturationDetector": detector,
            "parser": reference,
        },
        "required": ["apiVersion", "kind"],
        "additionalProperties": false,
    })
}

/// A list, or nothing at all.
fn list(items: &Value) -> Value {
    json!({"type": ["array", "null"], "items": items})
}
