//! One function per type of plugin: from its parameters to how it is made. A fault names the field that it is about, as far
//! as it is about one.

pub(super) mod filters;
pub(super) mod handlers;
pub(super) mod pickers;
pub(super) mod producers;
pub(super) mod scorers;
mod session;
pub(super) mod shell;

use serde::Deserialize;

use super::blueprint::Blueprint;
use super::fault::{Fault, Result};

/// The producer that a plugin reads prefix matches from when it does not say.
pub(super) const DEFAULT_PREFIX_PRODUCER: &str = "approx-prefix-cache-producer";

/// The producer that a plugin reads predicted latencies from when it does not say.
pub(super) const DEFAULT_LATENCY_PRODUCER: &str = "predicted-latency-producer";

/// Refuses what is not from 0 to 1.
fn from_0_to_1(number: f64, field: &str) -> Result<()> {
    number_within((0.0..=1.0).contains(&number), number, "from 0 to 1", field)
}

/// Refuses what is negative or not finite.
fn not_negative(number: f64, field: &str) -> Result<()> {
    number_within(number >= 0.0 && number.is_finite(), number, "that is not negative", field)
}

fn number_within(within: bool, number: f64, expected: &str, field: &str) -> Result<()> {
    let fault = || Fault::invalid(format!("number `{number}` where one {expected} was expected")).within(field);
    if within { Ok(()) } else { Err(fault()) }
}

/// The parameters of what has none.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameters {}
