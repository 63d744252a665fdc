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

/// The parameters of what has none.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameters {}
