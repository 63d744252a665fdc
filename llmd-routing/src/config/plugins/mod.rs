//! One function per type of plugin: from its parameters to how it is made. A fault names the field that it is about, as far
//! as it is about one.

pub(super) mod admitters;
pub(super) mod filters;
pub(super) mod handlers;
pub(super) mod header_processors;
pub(super) mod observers;
pub(super) mod pickers;
pub(super) mod producers;
pub(super) mod scorers;
pub(super) mod screeners;
mod session;
pub(super) mod shell;

use serde::Deserialize;

use super::blueprint::Blueprint;
use super::fault::{Fault, Result};

/// The producer that a plugin reads prefix matches from when it does not say.
pub(super) const DEFAULT_PREFIX_PRODUCER: &str = "approx-prefix-cache-producer";

/// The producer that a plugin reads predicted latencies from when it does not say.
pub(super) const DEFAULT_LATENCY_PRODUCER: &str = "predicted-latency-producer";

/// The producer that a plugin reads encoder matches from when it does not say.
pub(super) const DEFAULT_ENCODER_PRODUCER: &str = "mm-embeddings-cache-producer";

/// Refuses what is not from 0 to 1.
fn from_0_to_1(number: f64, field: &str) -> Result<()> {
    number_within((0.0..=1.0).contains(&number), number, "from 0 to 1", field)
}

/// Refuses what is negative or not finite.
fn not_negative(number: f64, field: &str) -> Result<()> {
    number_within(number >= 0.0 && number.is_finite(), number, "that is not negative", field)
}

/// Refuses what is not above 0, or not finite.
fn above_0(number: f64, field: &str) -> Result<()> {
    number_within(number > 0.0 && number.is_finite(), number, "above 0", field)
}

fn number_within(within: bool, number: f64, expected: &str, field: &str) -> Result<()> {
    let fault = || Fault::invalid(format!("number `{number}` where one {expected} was expected")).within(field);
    if within { Ok(()) } else { Err(fault()) }
}

/// Refuses 0.
fn positive(number: u64, field: &str) -> Result<()> {
    number_within(number > 0, number as f64, "above 0", field)
}

/// Refuses an empty text.
fn not_empty(text: &str, field: &str) -> Result<()> {
    let fault = || Fault::invalid("nothing where a name was expected").within(field);
    if text.is_empty() { Err(fault()) } else { Ok(()) }
}

/// Refuses a name that is an attribute and its producer in one, as llm-d once wrote it.
fn attribute_name(name: &str, producer: Option<&str>, field: &str) -> Result<()> {
    not_empty(name, field)?;
    match name.rsplit_once('/').filter(|_| producer.is_none()) {
        Some((attribute, producer)) => {
            let message = format!(
                "`{name}` where a name without `/` was expected, unless `producer` is given; is it \
                attribute `{attribute}` of producer `{producer}`?"
            );
            Err(Fault::invalid(message).within(field))
        }
        None => Ok(()),
    }
}

/// The parameters of what has none.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameters {}
