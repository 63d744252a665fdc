//! A feed as bytes and back.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::names::{self, Names};
use super::turns::Turns;
use super::worker::Worker;
use super::{Feed, FeedSettings, Inner, Writing};
use crate::index::{ExactIndex, IndexSettings, IndexWriter as _, Standing};
use crate::{Error, ErrorKind, Result, WorkerId};

impl Feed {
    /// Everything that is known, as bytes for [`restore`](Self::restore), as of one moment. Whoever feeds waits meanwhile.
    ///
    /// Workers that are [followed](Self::follow) are left out, since what a live stream said is forgotten with it. So are
    /// batches that wait for those before them.
    ///
    /// The bytes hold the secret that blocks are named with. Whoever reads them can make two prompts that the index takes
    /// for one, so only their owner should be able to.
    pub fn snapshot(&self) -> Vec<u8> {
        let writing = self.0.writing.wait();
        writing.index.snapshot(|id| {
            let worker = writing.workers.get(&id).filter(|worker| !worker.is_followed())?;
            self.name(id).map(|name| worker.standing(name))
        })
    }

    /// The feed that was written into `snapshot`, with the limits that [`FeedSettings`] has by default; see
    /// [`restore_with_limits`](Self::restore_with_limits).
    ///
    /// # Errors
    ///
    /// As [`restore_with_limits`](Self::restore_with_limits).
    pub fn restore(settings: IndexSettings, snapshot: &[u8]) -> Result<Self> {
        Self::restore_with_limits(settings, FeedSettings::default(), snapshot)
    }

    /// The feed that was written into `snapshot`, with these limits. Of `settings` too only the limits count: block size
    /// and secret are the snapshot's. Workers have their names, and new ids.
    ///
    /// Every worker is [`Recovering`](crate::index::WorkerState::Recovering), and [`missing_from`](Self::missing_from) is
    /// the last batch that was applied. When the engine's replay from there on is fed, or its stream goes on with that
    /// very batch, it is the same engine and the worker is exact again if it was before. When its stream merely goes on
    /// behind it, the worker is approximate as soon as it is given up; when another engine speaks, what was known of the
    /// worker is forgotten.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when the bytes are no snapshot, cut off or damaged; [`ErrorKind::Unsupported`] when a newer
    /// version wrote them; [`ErrorKind::Exhausted`] when they hold more than the limits allow.
    pub fn restore_with_limits(settings: IndexSettings, limits: FeedSettings, snapshot: &[u8]) -> Result<Self> {
        let names = Names::default();
        let mut workers = HashMap::new();
        let mut given = 0;
        let (index, reader) = ExactIndex::restore(settings, snapshot, |standing| {
            let id = WorkerId(given);
            enlist(&names, &standing, &limits, id)?;
            workers.insert(id, Worker::resumed(id, &standing, &limits));
            given += 1;
            Ok(id)
        })?;
        for (&id, worker) in workers.iter_mut().filter(|(_, worker)| worker.last_seq().is_none()) {
            worker.mistrust(!index.residents(id).is_empty());
        }
        let settings = *index.settings();
        let writing = Turns::new(Writing { index, workers, given });
        Ok(Self(Arc::new(Inner { settings, limits, reader, names, writing })))
    }
}

fn enlist(names: &Names, standing: &Standing, limits: &FeedSettings, id: WorkerId) -> Result<()> {
    let name = &standing.name;
    let corrupt = |what: String| Error::new(ErrorKind::Corrupt, what);
    names::check(name).map_err(|error| corrupt(format!("snapshot of {error}")))?;
    if names.id(name).is_some() {
        return Err(corrupt(format!("snapshot with worker {} twice", names::quoted(name))));
    }
    if id.0 as usize >= limits.max_workers {
        let message = format!("no room for worker {}: there are {}", names::quoted(name), limits.max_workers);
        return Err(Error::new(ErrorKind::Exhausted, message));
    }
    names.add(id, name);
    Ok(())
}
