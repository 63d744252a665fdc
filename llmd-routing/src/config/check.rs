//! Everything that is wrong with a configuration, at once.
//!
//! What is wrong is taken out of the tree, and the tree is read again, until nothing more is wrong; what is wrong only since
//! something was taken out is not said.

use std::sync::Arc;

use llmd_core::index::{ExactIndex, IndexSettings};

use super::build::assemble;
use super::document::EndpointPickerConfig;
use super::fault::{About, Fault, Step};
use super::fit::Given;
use super::node::{Key, Node, Value};
use super::problem::Problem;
use crate::scheduler::Origin;

/// What a configuration is checked for: what there is beside it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// There is an index of KV events; default, as in the gateway.
    pub index: bool,
    /// Plugins that are experimental in llm-d are allowed; not by default.
    pub experimental: bool,
}

impl Default for Check {
    fn default() -> Self {
        Self { index: true, experimental: false }
    }
}

impl Check {
    /// At most how many problems are told; whoever has more reads no further.
    pub const MAX_PROBLEMS: usize = 256;

    /// The same, with an index of KV events or without.
    #[must_use]
    pub const fn with_index(self, index: bool) -> Self {
        Self { index, ..self }
    }

    /// The same, allowing experimental plugins or not.
    #[must_use]
    pub const fn allow_experimental(self, experimental: bool) -> Self {
        Self { experimental, ..self }
    }
}

impl EndpointPickerConfig {
    /// Everything that is wrong with a text, in the order of the text: what [`from_yaml`](Self::from_yaml) refuses, and
    /// what [`build`](crate::SchedulerBuilder::build) would.
    ///
    /// What is wrong only since something else is, is left out: a plugin that cannot be read is not missed by those who
    /// refer to it. At most [`Check::MAX_PROBLEMS`] are told.
    pub fn check(text: &str, check: Check) -> Vec<Problem> {
        let mut root = match Self::tree(text) {
            Ok(root) => root,
            Err(fault) => return vec![fault.into()],
        };
        let mut faults = Vec::new();
        let read = read(&mut root, &mut faults);
        if let Some((config, lacks)) = read {
            faults.extend(misfits(config, &root, lacks, check));
        }
        faults.sort_by_key(|fault| fault.at.map_or((u64::MAX, 0), |at| (at.line, at.column)));
        faults.truncate(Check::MAX_PROBLEMS);
        faults.into_iter().map(Problem::from).collect()
    }
}

/// Reads the tree until nothing is wrong with what is left of it.
fn read(root: &mut Node, faults: &mut Vec<Fault>) -> Option<(EndpointPickerConfig, bool)> {
    loop {
        let fault = match EndpointPickerConfig::read(root) {
            Ok(read) => return Some(read),
            Err(fault) => fault,
        };
        // What cannot be repaired is taken out with what it is in, and may be missed there once more.
        let said = fault.to_string();
        if !follows(root, &fault) && faults.iter().all(|known| known.to_string() != said) {
            faults.push(fault.clone());
        }
        if faults.len() == Check::MAX_PROBLEMS || !prune(root, &fault) {
            return None;
        }
    }
}

/// What does not fit together of what could be read.
fn misfits(config: EndpointPickerConfig, root: &Node, lacks: bool, check: Check) -> Vec<Fault> {
    let (complete, _) = config.clone().complete();
    let mut faults = complete.misfits(Given { index: check.index, experimental: check.experimental });
    // Somebody who is missed may have been pruned, and a profile that was added may have been written.
    let rewritten = root.field("schedulingProfiles").is_some_and(Node::is_pruned);
    faults.retain(|fault| match fault.about {
        About::Missing(_) => !lacks,
        _ => fault.at.is_some() || !rewritten,
    });
    // The rest is for those to say who are made of it, when all of it is as it was written.
    let whole = ["plugins", "schedulingProfiles"].iter().all(|part| !root.field(part).is_some_and(Node::holds_pruned));
    if whole && faults.is_empty() {
        let index = check.index.then(|| Arc::new(ExactIndex::new(IndexSettings::default()).1) as _);
        let origin = Origin { index, experimental: check.experimental, ..Origin::default() };
        faults.extend(assemble(config, &origin).err().map(Fault::from));
    }
    faults
}

/// Whether a fault is there only since something was pruned.
fn follows(root: &Node, fault: &Fault) -> bool {
    match fault.about {
        About::Pruned => true,
        About::Missing(_) | About::Unknown(_) => false,
        // What parameters come to when they are put together, with one of them gone.
        About::Value => within_parameters(fault) && root.nearest(fault.steps()).holds_pruned(),
    }
}

fn within_parameters(fault: &Fault) -> bool {
    fault.steps().any(|step| matches!(step, Step::Field(name) if name == "parameters"))
}

/// Takes out what a fault is about; `false` when nothing is left to be taken out.
fn prune(root: &mut Node, fault: &Fault) -> bool {
    let steps: Vec<_> = fault.steps().cloned().collect();
    let repaired = match (&fault.about, steps.split_last()) {
        (About::Missing(name), _) => root.descend(&steps).is_some_and(|map| map.say_pruned(name)),
        (About::Unknown(meant), Some((Step::Field(name), above))) => root.descend(above).is_some_and(|map| {
            map.forget(name);
            if let Some(meant) = meant {
                map.say_pruned(meant);
            }
            true
        }),
        _ => false,
    };
    // What is not there cannot be taken out, but what it would be in.
    repaired || (1..=steps.len()).rev().any(|depth| root.descend(&steps[..depth]).is_some_and(Node::prune))
}

impl Node {
    /// The node that a path leads to.
    fn descend(&mut self, steps: &[Step]) -> Option<&mut Self> {
        steps.iter().try_fold(self, |node, step| match (step, &mut node.value) {
            (Step::Field(name), Value::Map(fields)) => {
                fields.iter_mut().find(|(key, _)| key.name == *name).map(|(_, node)| node)
            }
            (Step::Item(place), Value::List(items)) => items.get_mut(*place),
            _ => None,
        })
    }

    /// Passes over it from now on; `false` when that was so before.
    fn prune(&mut self) -> bool {
        let prunes = !self.is_pruned();
        if prunes {
            let (mark, value) = (self.mark, std::mem::take(&mut self.value));
            self.value = Value::Pruned(Box::new(Self { mark, value }));
        }
        prunes
    }

    /// Passes over a field that is not there as if it had been wrong; `false` when this is so before, or no map.
    fn say_pruned(&mut self, name: &str) -> bool {
        let mark = self.mark;
        let Value::Map(fields) = &mut self.value else { return false };
        if fields.iter().any(|(key, _)| key.name == name) {
            return false;
        }
        let nothing = Self { mark, value: Value::Pruned(Box::default()) };
        fields.push((Key { mark, name: name.to_owned() }, nothing));
        true
    }

    fn forget(&mut self, name: &str) {
        if let Value::Map(fields) = &mut self.value {
            fields.retain(|(key, _)| key.name != name);
        }
    }

    /// Whether something in it was pruned.
    fn holds_pruned(&self) -> bool {
        match &self.value {
            Value::Pruned(_) => true,
            Value::List(items) => items.iter().any(Self::holds_pruned),
            Value::Map(fields) => fields.iter().any(|(_, node)| node.holds_pruned()),
            _ => false,
        }
    }
}
