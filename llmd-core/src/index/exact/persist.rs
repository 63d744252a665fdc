//! An exact index as bytes and back.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::super::snapshot::{Cursor, Head, PathRecord, Standing, open, seal};
use super::super::span::{At, Place};
use super::context::Context;
use super::worker::Worker;
use super::{ExactIndex, ExactReader, ExactWriter};
use crate::index::IndexSettings;
use crate::{Error, Result, WorkerId};

/// Where the blocks are that were restored so far, by their digests.
pub(super) type Restored = HashMap<u64, Place>;

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
                worker.write(out, &self.span, &self.interned, &self.given_up);
            }
            self.write_pool(out);
        })
    }

    /// What lies on the storage that all share.
    fn write_pool(&self, out: &mut Vec<u8>) {
        let held = self.pool.column.map(|column| self.span.residents(column)).unwrap_or_default();
        let mut blocks: Vec<_> = held.into_iter().map(|place| self.span.prefix(place)).collect();
        blocks.sort_unstable_by_key(|&(digest, depth, _)| (depth, digest));
        out.extend_from_slice(&(blocks.len() as u64).to_le_bytes());
        for (digest, depth, before) in blocks {
            let digests = [crate::BlockHash(digest)].into_iter().collect();
            PathRecord { before, depth: depth - 1, digests }.write(out);
        }
    }

    fn read_pool(&mut self, from: &mut Cursor<'_>, restored: &mut Restored) -> Result<()> {
        for _ in 0..from.count(PathRecord::LEAST, "number of blocks on shared storage")? {
            let path = PathRecord::read(from)?;
            if path.digests.len() != 1 {
                let blocks = path.digests.len();
                return Err(from.corrupt(format_args!("a path of {blocks} blocks on shared storage; expected 1")));
            }
            let known = known(restored, &path, |place| self.span.prefix(place), from)?;
            let column = match self.pool.column {
                Some(column) => column,
                None => {
                    let column = self.span.column(u32::MAX, true).ok_or_else(|| from.corrupt("too many columns"))?;
                    self.pool.column = Some(column);
                    self.pool.namer.columns.push(column);
                    self.pool.is_news = true;
                    column
                }
            };
            self.span.store_unnamed(column, &mut self.pool.namer, behind(restored, &path), &path.digests);
            if known.is_none()
                && let Some(place) = self.span.search(path.digests[0].0, path.depth + 1)
            {
                restored.insert(path.digests[0].0, place);
            }
        }
        Ok(())
    }
}

/// Where the last block of a path is, if it was restored already. All that was must stand where the path says.
pub(super) fn known(
    restored: &Restored,
    path: &PathRecord,
    prefix: impl Fn(Place) -> (u64, u32, u64),
    from: &Cursor<'_>,
) -> Result<Option<Place>> {
    let parent = restored.get(&path.before).filter(|_| path.depth > 0);
    if parent.is_some_and(|&place| prefix(place).1 != path.depth) {
        return Err(from.corrupt(format_args!("a digest that stands at two places, {} blocks deep", path.depth)));
    }
    let (mut last, mut before) = (None, path.before);
    for (depth, digest) in (path.depth + 1..).zip(&path.digests) {
        last = restored.get(&digest.0).copied();
        if last.is_some_and(|place| prefix(place) != (digest.0, depth, before)) {
            return Err(from.corrupt(format_args!("a digest that stands at two places, {depth} blocks deep")));
        }
        before = digest.0;
    }
    Ok(last)
}

/// Where the blocks of a path go on.
pub(super) fn behind(restored: &Restored, path: &PathRecord) -> At {
    let place = if path.depth == 0 { None } else { restored.get(&path.before).copied() };
    At { place, before: path.before, depth: path.depth }
}

impl ExactIndex {
    /// The index that was written into `snapshot`: it answers every query and takes every event as that one does. Block
    /// size and secret are the snapshot's; the limits are those of `limits`. What was only counted begins at 0.
    ///
    /// `enlist` gives each worker its id. All are [`WorkerState::Recovering`](crate::index::WorkerState::Recovering) until their streams are found to go on where
    /// [`Standing::anchor`] says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the bytes are no snapshot, cut off or damaged. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when another
    /// version wrote them. [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) when a worker holds more than `limits` allow. And what `enlist` says.
    pub fn restore(
        limits: IndexSettings,
        snapshot: &[u8],
        mut enlist: impl FnMut(Standing) -> Result<WorkerId>,
    ) -> Result<(ExactWriter, ExactReader)> {
        let (head, mut from) = open(snapshot)?;
        let settings = IndexSettings { block_size: head.block_size, key: head.key, ..limits };
        let (mut writer, reader) = Self::new(settings);
        let mut restored = Restored::new();
        for _ in 0..head.workers {
            let standing = Standing::read(&mut from)?;
            let name = Arc::clone(&standing.name);
            let of_whom = |error: Error| Error::new(error.kind(), format!("worker {name:?}: {error}"));
            let id = enlist(standing)?;
            if writer.workers.contains_key(&id) {
                return Err(of_whom(from.corrupt("it is there twice")));
            }
            let read = |worker: &mut Worker, cx: &mut Context<'_>| worker.read(&mut from, &mut restored, cx);
            writer.work(id, 0.0, read).map_err(of_whom)?;
        }
        writer.read_pool(&mut from, &mut restored)?;
        from.end()?;
        writer.stats.unplaceable = 0;
        writer.evict(writer.span.blocks());
        writer.publish();
        Ok((writer, reader))
    }
}
