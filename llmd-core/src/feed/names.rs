//! The names of the workers, which are read without waiting.

use std::sync::Arc;

use super::invalid;
use crate::{Error, Result, WorkerId};

/// How many bytes a name can have.
const MAX_NAME: usize = 1024;
/// How many workers an error lists.
const MAX_LISTED: usize = 8;
/// How many characters of a name an error shows.
const MAX_SHOWN: usize = 64;

/// The names of the workers. One thread at a time changes them; any number read, and never wait.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: papaya::HashMap<Arc<str>, WorkerId>,
    names: papaya::HashMap<WorkerId, Arc<str>>,
}

impl Names {
    pub(super) fn id(&self, name: &str) -> Option<WorkerId> {
        self.ids.pin().get(name).copied()
    }

    pub(super) fn name(&self, worker: WorkerId) -> Option<Arc<str>> {
        self.names.pin().get(&worker).cloned()
    }

    pub(super) fn all(&self) -> Vec<(WorkerId, Arc<str>)> {
        let mut all: Vec<_> = self.names.pin().iter().map(|(&worker, name)| (worker, Arc::clone(name))).collect();
        all.sort_unstable_by_key(|&(worker, _)| worker);
        all
    }

    pub(super) fn add(&self, worker: WorkerId, name: &str) {
        let name: Arc<str> = name.into();
        self.names.pin().insert(worker, Arc::clone(&name));
        self.ids.pin().insert(name, worker);
    }

    pub(super) fn remove(&self, worker: WorkerId) {
        if let Some(name) = self.names.pin().remove(&worker) {
            self.ids.pin().remove(name);
        }
    }

    /// That nobody has heard of `name`, and who is known.
    pub(super) fn unknown(&self, name: &str) -> Error {
        let all = self.all();
        let known: Vec<_> = all.iter().take(MAX_LISTED).map(|(_, name)| quoted(name)).collect();
        let known = match (known.len(), all.len() - known.len()) {
            (0, _) => "none is".to_owned(),
            (_, 0) => known.join(", "),
            (_, more) => format!("{} and {more} more", known.join(", ")),
        };
        invalid(format!("worker {} is not known; known: {known}", quoted(name)))
    }
}

/// Whether a worker can have this name.
pub(super) fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(invalid(format!("a worker's name of {} bytes; expected 1 to {MAX_NAME}", name.len())));
    }
    Ok(())
}

/// A name in quotes, the end of a long one left out.
pub(super) fn quoted(name: &str) -> String {
    match name.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}", format!("{}…", &name[..end])),
        None => format!("{name:?}"),
    }
}
