//! `single-profile-handler`: there is one profile, and it runs.

use crate::plugin::{Context, Plugin, ProfileHandler, Ran, Refusal};

/// Runs the first profile, and no other.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SingleProfileHandler;

impl Plugin for SingleProfileHandler {}

impl ProfileHandler for SingleProfileHandler {
    fn next(&self, _: &Context<'_>, _: &[String], ran: &[Ran]) -> Result<Option<usize>, Refusal> {
        Ok(ran.is_empty().then_some(0))
    }

    fn primary(&self, _: &[Ran]) -> usize {
        0
    }
}
