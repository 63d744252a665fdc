//! `always-disagg-pd-decider`: every request.

use crate::plugin::{Context, Decider, Plugin};

/// Says yes to every request.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AlwaysDecider;

impl Plugin for AlwaysDecider {}

impl Decider for AlwaysDecider {
    fn disaggregates(&self, _: &Context<'_>, _: Option<usize>) -> bool {
        true
    }
}
