//! From the tree to serde's types, so that an error says where.

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::{About, Fault, Result};
use super::node::{Key, Node, Value};

impl Node {
    /// This node as a `T`.
    pub(super) fn typed<'de, T: Deserialize<'de>>(&'de self) -> Result<T> {
        T::deserialize(self)
    }

    /// The same, where nothing at all means that every field has its default.
    pub(super) fn parameters<'de, T: Deserialize<'de>>(&'de self) -> Result<T> {
        static NO_FIELDS: Node =
            Node { mark: super::fault::Mark { line: 0, column: 0 }, value: Value::Map(Vec::new()) };
        if self.is_nothing() { NO_FIELDS.typed() } else { self.typed() }
    }
}

impl Node {
    /// A fault of this map: a field that was pruned is not missed.
    fn known(&self, fault: Fault) -> Fault {
        match &fault.about {
            About::Missing(name) if fault.steps().next().is_none() && self.field(name).is_some_and(Self::is_pruned) => {
                Fault::pruned()
            }
            _ => fault,
        }
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Map(fields) => {
                visitor.visit_map(Fields { fields: fields.iter(), entered: None }).map_err(|fault| self.known(fault))
            }
            Value::Pruned(_) => Err(Fault::pruned()),
        }
        .map_err(|fault| fault.at(self.mark))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if matches!(self.value, Value::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// Fields have names; serde would take a list of their values too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.value {
            Value::List(_) => Err(Fault::invalid("a list where a map was expected").at(self.mark)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let Value::Text(name) = &self.value else {
            return Err(Fault::invalid(format!("{} where a name was expected", self.kind())).at(self.mark));
        };
        visitor.visit_enum(Name(name)).map_err(|fault| fault.at(self.mark))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'de>(std::iter::Enumerate<std::slice::Iter<'de, Node>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((place, item)) = self.0.find(|(_, item)| !item.is_pruned()) else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|fault| fault.at(item.mark).within_item(place))
    }
}

struct Fields<'de> {
    fields: std::slice::Iter<'de, (Key, Node)>,
    entered: Option<&'de (Key, Node)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.entered = self.fields.find(|(_, node)| !node.is_pruned());
        let Some((key, _)) = self.entered else { return Ok(None) };
        let name = StrDeserializer::new(&key.name);
        seed.deserialize(name).map(Some).map_err(|fault: Fault| fault.at(key.mark).within(&key.name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let (key, node) = self.entered.expect("serde asks for a value after its key");
        seed.deserialize(node).map_err(|fault| fault.at(node.mark).within(&key.name))
    }
}

struct Name<'de>(&'de str);

impl<'de> EnumAccess<'de> for Name<'de> {
    type Error = Fault;
    type Variant = Unit<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Unit<'de>)> {
        seed.deserialize(StrDeserializer::new(self.0)).map(|variant| (variant, Unit(self.0)))
    }
}

/// A variant without content: the settings know no other.
struct Unit<'de>(&'de str);

impl<'de> VariantAccess<'de> for Unit<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value> {
        Err(self.empty())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value> {
        Err(self.empty())
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value> {
        Err(self.empty())
    }
}

impl Unit<'_> {
    fn empty(&self) -> Fault {
        serde::de::Error::invalid_type(Unexpected::Str(self.0), &"a value with content")
    }
}
