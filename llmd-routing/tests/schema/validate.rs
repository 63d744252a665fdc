//! As much of JSON Schema as ours uses. A keyword that it does not know is an error, so that nothing goes unchecked.

use serde_json::{Map, Value};

/// What is against the schema, with its path; `None` when nothing is.
pub(crate) fn complaint(schema: &Value, value: &Value) -> Option<String> {
    first(schema, value, "$")
}

fn first(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let schema = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("{path}: nothing is taken here")),
        Value::Object(schema) => schema,
        other => panic!("a schema is no {other}"),
    };
    schema.iter().find_map(|(keyword, says)| check(schema, keyword, says, value, path))
}

fn check(schema: &Map<String, Value>, keyword: &str, says: &Value, value: &Value, path: &str) -> Option<String> {
    let complain = |bad: bool| bad.then(|| format!("{path}: {keyword} {says}, not {value}"));
    let holds = |schema| first(schema, value, path).is_none();
    match keyword {
        "type" => complain(!each(says).any(|kind| is(value, kind))),
        "const" => complain(value != says),
        "enum" => complain(!each(says).any(|one| one == value)),
        "minimum" => complain(value.as_f64().is_some_and(|value| value < says.as_f64().unwrap())),
        "maximum" => complain(value.as_f64().is_some_and(|value| value > says.as_f64().unwrap())),
        "minItems" => complain(value.as_array().is_some_and(|value| (value.len() as u64) < says.as_u64().unwrap())),
        "maxItems" => complain(value.as_array().is_some_and(|value| value.len() as u64 > says.as_u64().unwrap())),
        "items" => {
            let mut items = value.as_array().into_iter().flatten().enumerate();
            items.find_map(|(place, item)| first(says, item, &format!("{path}[{place}]")))
        }
        "properties" => says.as_object().unwrap().iter().find_map(|(name, schema)| {
            value.get(name).and_then(|value| first(schema, value, &format!("{path}.{name}")))
        }),
        "required" => complain(value.is_object() && each(says).any(|name| value.get(name.as_str().unwrap()).is_none())),
        "additionalProperties" => {
            let known = schema.get("properties");
            let known = |name: &str| known.is_some_and(|known| known.get(name).is_some());
            let mut others = value.as_object().into_iter().flatten().filter(|(name, _)| !known(name));
            others.find_map(|(name, value)| first(says, value, &format!("{path}.{name}")))
        }
        "allOf" => each(says).find_map(|schema| first(schema, value, path)),
        "anyOf" => complain(!each(says).any(holds)),
        "oneOf" => complain(each(says).filter(|schema| holds(schema)).count() != 1),
        "not" => complain(holds(says)),
        "if" => {
            let then = schema.get(if holds(says) { "then" } else { "else" });
            then.and_then(|schema| first(schema, value, path))
        }
        "then" | "else" => None,
        "$schema" | "default" | "deprecated" | "description" | "examples" | "format" | "pattern" | "title" => None,
        unknown => panic!("keyword {unknown} is not known here"),
    }
}

/// The items of a list, or the one thing that is no list.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice).iter()
}

fn is(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        unknown => panic!("type {unknown} is not known here"),
    }
}
