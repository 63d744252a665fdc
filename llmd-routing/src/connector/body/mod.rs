//! A JSON object, field by field: what nobody names stays as it was written.

mod read;

use std::borrow::Cow;
use std::fmt;

use llmd_core::{ErrorKind, Result};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::connector::fault::{is_null, wrong};

/// A JSON object: a request's body, a response's, or an object in one.
///
/// Fields keep their order, and values the bytes they came with, so that numbers beyond 64 bits, `1e-7` and fields of
/// tomorrow go through unchanged. Nothing is copied but what is set. A name that is said twice counts as its last, as
/// engines read it.
#[derive(Clone, Debug, Default)]
pub struct Body<'a> {
    fields: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
}

impl<'a> Body<'a> {
    /// The value of this field.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.fields.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// The object in this field. `None` when there is none, or something else.
    pub fn object(&self, name: &str) -> Option<Body<'_>> {
        Body::of(self.get(name)?)
    }

    /// The text in this field. `None` when there is none, or something else.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The number in this field. `None` when there is none, or something else.
    pub fn number(&self, name: &str) -> Option<u64> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Every field, in order, given away.
    pub(in crate::connector) fn into_fields(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, RawValue>)> {
        self.fields.into_iter()
    }

    /// Every value of this field, to be changed.
    pub(in crate::connector) fn all_mut(&mut self, name: &str) -> impl Iterator<Item = &mut Cow<'a, RawValue>> {
        self.fields.iter_mut().filter(move |(known, _)| known == name).map(|(_, value)| value)
    }

    /// Gives a field this value: in its place, or behind all others when it is new.
    pub(in crate::connector) fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Cow<'a, RawValue>) {
        let name = name.into();
        let Some(place) = self.fields.iter().position(|(known, _)| *known == name) else {
            return self.fields.push((name, value));
        };
        self.fields[place].1 = value;
        let mut at = 0;
        self.fields.retain(|(known, _)| {
            at += 1;
            at <= place + 1 || *known != name
        });
    }

    /// The same, with this value of our own in a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.put(name, value);
        self
    }

    /// The same, with this object in a field.
    #[must_use]
    pub fn with_object(mut self, name: &'static str, object: &Body<'_>) -> Self {
        self.set(name, Cow::Owned(object.to_raw()));
        self
    }

    /// Gives a field this value of our own.
    pub fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.set(name, Cow::Owned(to_raw_value(&value.into()).expect("a value is JSON")));
    }

    /// Gives a field this value of our own unless it has one.
    pub(in crate::connector) fn put_if_absent(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.get(name).is_none() {
            self.put(name, value);
        }
    }

    /// Changes the object in this field, which is an empty one when nothing is there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when something else is there.
    pub(in crate::connector) fn edit(&mut self, name: &'static str, change: impl FnOnce(&mut Body<'_>)) -> Result<()> {
        let before = self.get(name).filter(|raw| !is_null(raw)).map(ToOwned::to_owned);
        let mut object = match &before {
            Some(raw) => Body::of(raw).ok_or_else(|| wrong(ErrorKind::Invalid, name, raw, "an object"))?,
            None => Body::default(),
        };
        change(&mut object);
        let after = object.to_raw();
        self.set(name, Cow::Owned(after));
        Ok(())
    }

    /// Takes out the fields that have one of these names, and says whether there were any.
    pub fn remove(&mut self, names: &[&str]) -> bool {
        let before = self.fields.len();
        self.fields.retain(|(known, _)| !names.contains(&known.as_ref()));
        self.fields.len() < before
    }

    /// Takes a field out, as its last value.
    pub(in crate::connector) fn take(&mut self, name: &str) -> Option<Cow<'a, RawValue>> {
        let last = self.fields.iter().rposition(|(known, _)| known == name)?;
        let (_, value) = self.fields.remove(last);
        self.remove(&[name]);
        Some(value)
    }

    /// Takes in the fields of `other`, over its own.
    pub(in crate::connector) fn extend(&mut self, other: Self) {
        for (name, value) in other.into_fields() {
            self.set(name, value);
        }
    }

    /// As JSON, without white space between the fields.
    pub fn to_json(&self) -> String {
        let length = |(name, value): (&str, &RawValue)| name.len() + value.get().len() + 4;
        let mut json = String::with_capacity(self.iter().map(length).sum::<usize>() + 2);
        for (name, value) in self.iter() {
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(&serde_json::to_string(name).expect("a string is JSON"));
            json.push(':');
            json.push_str(value.get());
        }
        if json.is_empty() {
            json.push('{');
        }
        json.push('}');
        json
    }

    /// As a value of another object.
    pub(in crate::connector) fn to_raw(&self) -> Box<RawValue> {
        RawValue::from_string(self.to_json()).expect("fields make an object")
    }
}

/// As JSON.
impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_names_stays_as_it_was_written() {
        let text = r#"{"z":18446744073709551617,"a":1e-7,"m":1.50,"seed":9007199254740993,"s":"\u00e9\ud800","y":{"b": 1, "a":-0}}"#;
        let mut body = Body::parse(text.as_bytes()).unwrap();
        assert_eq!(body.to_json(), text);

        body.put("m", 2);
        body.put("new", true);
        body.remove(&["a"]);
        assert_eq!(
            body.to_json(),
            r#"{"z":18446744073709551617,"m":2,"seed":9007199254740993,"s":"\u00e9\ud800","y":{"b": 1, "a":-0},"new":true}"#
        );
    }

    #[test]
    fn a_name_that_is_said_twice_counts_as_its_last_and_goes_as_a_whole() {
        let mut body = Body::parse(br#"{"a": 1, "b": 2, "\u0061": 3}"#).unwrap();
        assert_eq!(body.number("a"), Some(3));
        body.put("a", 4);
        assert_eq!(body.to_json(), r#"{"a":4,"b":2}"#);

        let mut body = Body::parse(br#"{"a": 1, "b": 2, "\u0061": 3}"#).unwrap();
        assert!(body.remove(&["a"]) && !body.remove(&["a"]));
        assert_eq!(body.to_json(), r#"{"b":2}"#);
    }
}
