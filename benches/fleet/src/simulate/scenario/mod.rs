//! Scenarios: a fleet, a load, and what was published about it.

mod catalogue;
mod machines;
mod policy;
mod published;
mod recipe;
mod row;

pub use catalogue::{NAMES, named, traced};
pub use policy::{BUILT_IN, Policy};
pub use row::{Measure, Row};

use recipe::Recipe;

use super::driver::Fleet;
use super::load::Load;

/// A fleet, a load, and what was published about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name on the command line and in figures.
    pub name: &'static str,
    /// What it is, with its constants and their source.
    pub about: &'static str,
    /// The one number by which policies are compared.
    pub objective: Measure,
    /// The fleet that any policy can be tried on.
    pub fleet: Fleet,
    /// What was published, best first.
    pub arms: Vec<Arm>,
    recipe: Recipe,
}

/// One policy of a published table, on the fleet that it ran on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arm {
    /// How figures call it.
    pub figure: &'static str,
    /// The policy.
    pub policy: &'static str,
    /// The fleet.
    pub fleet: Fleet,
    /// What was published.
    pub rows: Vec<Row>,
}

impl Scenario {
    /// The load of this seed.
    pub fn load(&self, seed: u64) -> Load {
        self.recipe.load(seed)
    }
}
