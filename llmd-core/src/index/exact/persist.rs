//! An exact index as bytes and back.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::super::snapshot::{Head, Standing, open, seal};
use super::holdings::Holdings;
use super::shared::Context;
use super::{ExactIndex, ExactReader, ExactWriter, Worker};
use crate::index::{IndexSettings, WorkerState};
use crate::{Error, Result, WorkerId};

impl ExactWriter {
    /// Everything that the index knows, as bytes for [`ExactIndex::restore`]. `standing` says who a worker is and how far
    /// its stream was heard; a worker for which it has nothing to say is left out.
    ///
    /// The bytes hold the secret that blocks are named with. Whoever reads them can make two prompts that the index takes
    /// for one, so only their owner should be able to.
    pub fn snapshot(&self, standing: impl Fn(WorkerId) -> Option<Standing>) -> Vec<u8> {
        let workers = self.workers.iter().filter_map(|(&id, worker)| Some((standing(id)?, worker)));
        let mut workers: Vec<_> = workers.collect();
        workers.sort_unstable_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        let IndexSettings { key, block_size, .. } = self.settings;
        seal(&Head { key, block_size, workers: workers.len() }, |out| {
            for (standing, worker) in workers {
                standing.write(out);
                worker.holdings.write(out, Context { shared: &self.shared, settings: &self.settings, at: 0.0 });
            }
        })
    }
}

impl ExactIndex {
    /// The index that was written into `snapshot`: it answers every query and takes every event as that one does. Block
    /// size and secret are the snapshot's; the limits are those of `limits`. What was only counted begins at 0.
    ///
    /// `enlist` gives each worker its id. All are [`WorkerState::Recovering`] until their streams are found to go on where
    /// [`Standing::anchor`] says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the bytes are no snapshot, cut off or damaged. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when a newer
    /// version wrote them. [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) when a worker holds more than `limits` allow. And what `enlist` says.
    pub fn restore(
        limits: IndexSettings,
        snapshot: &[u8],
        mut enlist: impl FnMut(Standing) -> Result<WorkerId>,
    ) -> Result<(ExactWriter, ExactReader)> {
        let (head, mut from) = open(snapshot)?;
        let settings = IndexSettings { block_size: head.block_size, key: head.key, ..limits };
        let (mut writer, reader) = Self::new(settings);
        let mut workers = HashMap::new();
        for _ in 0..head.workers {
            let standing = Standing::read(&mut from)?;
            let name = Arc::clone(&standing.name);
            let of_whom = |error: Error| Error::new(error.kind(), format!("worker {name:?}: {error}"));
            let id = enlist(standing)?;
            if workers.contains_key(&id) {
                return Err(of_whom(from.corrupt("it is there twice")));
            }
            let cx = Context { shared: &writer.shared, settings: &settings, at: 0.0 };
            let holdings = Holdings::read(id, &mut from, cx).map_err(of_whom)?;
            writer.stats.held += holdings.held();
            writer.stats.remembered += holdings.remembered();
            let worker = Worker { state: WorkerState::Recovering, holdings };
            writer.shared.show(id, worker.view());
            workers.insert(id, worker);
        }
        from.end()?;
        writer.workers = workers;
        writer.publish();
        Ok((writer, reader))
    }
}
