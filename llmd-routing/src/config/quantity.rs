//! Quantities as Kubernetes writes them: `10Gi`, `20k`, `5000`.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A field that holds a whole quantity, which is not negative; a part of one counts as one.
///
/// Format: the Kubernetes API's `resource.Quantity`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Quantity(pub(super) u64);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "minimum": 0,
            "pattern": r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
            "examples": ["10Gi", "20k", 5000],
        })
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity like `10Gi`, `20k` or `5000`")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Quantity, E> {
        Ok(Quantity(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
        u64::try_from(number).map(Quantity).map_err(|_| negative(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        match parse(digits) {
            Some(quantity) if quantity == 0 || digits == text => Ok(Quantity(quantity)),
            Some(_) => Err(negative(text)),
            None => Err(E::custom(format!("`{text}` where a quantity like `10Gi`, `20k` or `5000` was expected"))),
        }
    }
}

fn negative<E: de::Error>(quantity: impl fmt::Display) -> E {
    E::custom(format!("quantity `{quantity}` where one that is not negative was expected"))
}

/// A number and its unit, rounded up. `None` when it is not that, or more than anybody counts.
fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let mantissa: u128 = format!("{whole}{part}").parse().ok()?;
    let (factor, exponent) = scale(unit)?;
    let exponent = exponent.checked_sub(i32::try_from(part.len()).ok()?)?;
    let scaled = mantissa.checked_mul(factor)?;
    let power = 10u128.checked_pow(exponent.unsigned_abs());
    let quantity = match (scaled, exponent >= 0) {
        (0, _) => 0,
        (_, true) => scaled.checked_mul(power?)?,
        // What is divided by more than there can be is still a part of one.
        (_, false) => power.map_or(1, |power| scaled.div_ceil(power)),
    };
    u64::try_from(quantity).ok()
}

/// What a unit multiplies by: a factor, and a power of ten.
fn scale(unit: &str) -> Option<(u128, i32)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(power) = binary.iter().position(|known| *known == unit) {
        return Some((1 << (10 * (power + 1)), 0));
    }
    let decimal =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    if let Some((_, power)) = decimal.iter().find(|(known, _)| *known == unit) {
        return Some((1, *power));
    }
    let exponent = unit.strip_prefix(['e', 'E'])?;
    exponent.parse().ok().map(|power| (1, power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, quantity) in [
            ("0", 0),
            ("5000", 5000),
            ("20k", 20_000),
            ("1G", 1_000_000_000),
            ("10Gi", 10 << 30),
            ("1.5Ki", 1536),
            (".5k", 500),
            ("5.", 5),
            ("+1M", 1_000_000),
            ("1e3", 1000),
            ("1E3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("25e-1", 3),
            ("100m", 1),
            ("1000m", 1),
            ("1500m", 2),
            ("1n", 1),
            ("0.0001", 1),
            ("1e-99", 1),
            ("0e99", 0),
        ] {
            assert_eq!(parse(text), Some(quantity), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "k", ".", "1.2.3", "1 k", "1ki", "1K", "1Gib", "1e", "1e1.5", "--1", "99999999999E", "1e99"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
