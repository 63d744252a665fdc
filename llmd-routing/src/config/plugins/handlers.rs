//! Profile handlers and deciders, from their parameters.

use super::{Blueprint, NoParameters, Result};
use crate::handler::SingleProfileHandler;

pub(in crate::config) fn single_profile_handler(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::handler(|_| Ok(SingleProfileHandler)))
}
