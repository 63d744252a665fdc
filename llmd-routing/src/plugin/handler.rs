//! Which profiles a request runs through.

use std::sync::Arc;

use super::Plugin;
use crate::{Endpoint, Request};

/// Says which profiles a request runs through, and which of them decides where it goes.
pub trait ProfileHandler: Plugin {
    /// The profile that runs next, by its place in `profiles`, which are names; `None` when enough have run. None runs
    /// twice.
    fn next(&self, request: &Request, profiles: &[String], ran: &[Ran]) -> Option<usize>;

    /// Which of those that ran decides, by its place in `ran`, which is not empty.
    fn primary(&self, ran: &[Ran]) -> usize;
}

/// A profile that ran.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ran {
    /// Its place among the profiles.
    pub profile: usize,
    /// The endpoint that it would choose; `None` when its filters left nobody.
    pub picked: Option<Arc<Endpoint>>,
}

impl Ran {
    /// The profile at this place ran, and chose this.
    pub const fn new(profile: usize, picked: Option<Arc<Endpoint>>) -> Self {
        Self { profile, picked }
    }
}
