//! A YAML document as a tree that remembers where each value stands.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::fault::{About, Fault, Mark, Result, Step};

/// A value and where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// What is wrong here was said; it is passed over from then on.
    Pruned(Box<Node>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) mark: Mark,
    pub(super) name: String,
}

impl Node {
    /// The tree of a text.
    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_saphyr::from_str(text).map_err(|error| {
            let error = error.without_snippet();
            let fault = Fault::invalid(message(error));
            match error.location() {
                Some(location) => fault.at(mark(location)),
                None => fault,
            }
        })
    }

    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            Value::Null | Value::Pruned(_) => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Signed(value) => format!("number `{value}`"),
            Value::Unsigned(value) => format!("number `{value}`"),
            Value::Float(value) => format!("number `{value}`"),
            Value::Text(value) => format!("string {value:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// The value in one way, whatever its places and the order of its fields: two that are alike are written alike. Fields
    /// that say nothing are left out.
    pub(super) fn plain(&self) -> String {
        match &self.value {
            Value::Null | Value::Pruned(_) => String::new(),
            Value::Bool(value) => value.to_string(),
            Value::Signed(value) => value.to_string(),
            Value::Unsigned(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(value) => format!("{value:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(Self::plain).collect::<Vec<_>>().join(",")),
            Value::Map(fields) => {
                let fields = fields.iter().map(|(key, node)| (key.name.as_str(), node.plain()));
                let mut fields: Vec<_> = fields.filter(|(_, value)| !value.is_empty()).collect();
                fields.sort_unstable();
                let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                if fields.is_empty() { String::new() } else { format!("{{{}}}", fields.join(",")) }
            }
        }
    }

    /// Whether it was found wrong, and taken out.
    pub(super) fn is_pruned(&self) -> bool {
        matches!(self.value, Value::Pruned(_))
    }

    /// Whether it says nothing.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.value, Value::Null | Value::Pruned(_))
    }

    /// The value of a field, when this is a map that has it.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let Value::Map(fields) = &self.value else { return None };
        fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }
}

/// What is read by hand: sections that hold the parameters of others.
impl Node {
    /// The fields of a map whose fields are among `known`.
    pub(super) fn section(&self, known: &[&str]) -> Result<&Self> {
        let Value::Map(fields) = &self.value else {
            return Err(Fault::invalid(format!("{} where a map was expected", self.kind())).at(self.mark));
        };
        match fields.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
            Some((key, _)) => Err(Fault::unknown_field(&key.name, known).within(&key.name).at(key.mark)),
            None => Ok(self),
        }
    }

    /// What `read` makes of a field, when it is there and says something.
    pub(super) fn read<'a, T>(&'a self, name: &str, read: impl FnOnce(&'a Self) -> Result<T>) -> Result<Option<T>> {
        let Some(node) = self.field(name).filter(|node| !node.is_nothing()) else { return Ok(None) };
        read(node).map(Some).map_err(|fault| fault.at(node.mark).within(name))
    }

    /// What `read` makes of a field that must be there.
    pub(super) fn require<'a, T>(&'a self, name: &str, read: impl FnOnce(&'a Self) -> Result<T>) -> Result<T> {
        self.read(name, read)?.ok_or_else(|| match self.field(name) {
            Some(node) if node.is_pruned() => Fault::pruned(),
            _ => Fault::missing(name).at(self.mark),
        })
    }

    /// What `read` makes of each item of a list; nothing at all is an empty one.
    pub(super) fn each<'a, T>(&'a self, mut read: impl FnMut(&'a Self) -> Result<T>) -> Result<Vec<T>> {
        self.each_at(|_, item| read(item))
    }

    /// The same, with the place of each.
    pub(super) fn each_at<'a, T>(&'a self, mut read: impl FnMut(usize, &'a Self) -> Result<T>) -> Result<Vec<T>> {
        let items = self.items()?.iter().enumerate().filter(|(_, item)| !item.is_pruned());
        items.map(|(place, item)| read(place, item).map_err(|fault| fault.at(item.mark).within_item(place))).collect()
    }

    /// The items of a list; nothing at all is an empty one.
    pub(super) fn items(&self) -> Result<&[Self]> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null | Value::Pruned(_) => Ok(&[]),
            _ => Err(Fault::invalid(format!("{} where a list was expected", self.kind())).at(self.mark)),
        }
    }

    /// The text that this is.
    pub(super) fn text(&self) -> Result<&str> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(Fault::invalid(format!("{} where a string was expected", self.kind())).at(self.mark)),
        }
    }

    /// The text that this is, or was before it was pruned.
    pub(super) fn original_text(&self) -> Option<&str> {
        match &self.value {
            Value::Pruned(original) => original.original_text(),
            _ => self.text().ok(),
        }
    }

    /// Refuses a field, if it is there: llm-d takes it, and llmd does not yet.
    pub(super) fn refuse(&self, field: &str, instead: &str) -> Result<()> {
        match self.field(field).filter(|node| !node.is_pruned()) {
            Some(node) => Err(Fault::not_supported(instead).at(node.mark).within(field)),
            None => Ok(()),
        }
    }

    /// A fault of what is inside this node, with its place: where its path leads, or would. What was pruned is not missed.
    pub(super) fn locate(&self, fault: Fault) -> Fault {
        let node = self.nearest(fault.steps());
        let mark = node.mark;
        match &fault.about {
            About::Missing(name) if node.is_pruned() || node.field(name).is_some_and(Self::is_pruned) => {
                fault.following()
            }
            _ => fault,
        }
        .at(mark)
    }

    /// The node that a path leads to, or the last one on the way.
    pub(super) fn nearest<'a>(&self, path: impl Iterator<Item = &'a Step>) -> &Self {
        let mut node = self;
        for step in path {
            let next = match step {
                Step::Field(name) => node.field(name),
                Step::Item(place) => node.items().ok().and_then(|items| items.get(*place)),
            };
            let Some(next) = next else { break };
            node = next;
        }
        node
    }
}

/// What is wrong with a text that is no tree.
fn message(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("key `{key}` is given twice"),
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is given twice".to_owned(),
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document where one was expected".to_owned(),
        other => {
            let message = other.to_string();
            // The library says the place after the message; ours stands before it.
            format!("not YAML: {}", message.split(" at line ").next().unwrap_or_default())
        }
    }
}

fn mark(location: Location) -> Mark {
    Mark { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { mark: mark(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map: Vec<(Key, Node)> = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let key = Key { mark: mark(key.referenced), name: key.value };
            if map.iter().any(|(known, _)| known.name == key.name) {
                return Err(de::Error::custom(format!("key `{}` is given twice", key.name)));
            }
            map.push((key, entries.next_value()?));
        }
        Ok(Value::Map(map))
    }
}
