//! The same host: one side maps the other's pool and copies.

#![expect(unsafe_code, reason = "who has which blocks of the two pools is known here")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::copy::{self, How};
use super::flag;
use super::helper::Helper;
use crate::family::{Pull, Serve, Wait};
use crate::memory::Memory;
use crate::work::Work;

/// Has blocks, and lets others map them.
#[derive(Debug)]
pub(super) struct Holder {
    pool: Memory,
    flag: Memory,
}

impl Holder {
    pub(super) fn new(pool: usize) -> Result<Self> {
        Ok(Self { pool: Memory::filled(pool)?, flag: Memory::create(flag::BYTES)? })
    }
}

impl Serve for Holder {
    fn offer(&mut self) -> Result<Value> {
        Ok(json!({ "pool": self.pool.path(), "len": self.pool.len(), "flag": self.flag.path() }))
    }

    fn echo(&mut self, wait: Wait) -> Result<()> {
        if wait == Wait::Sleeping {
            return Err(asleep());
        }
        flag::answer(&self.flag);
        Ok(())
    }
}

/// Maps the other side's pool, and copies from it with one thread or two.
#[derive(Debug)]
pub(super) struct Puller {
    pool: Arc<Memory>,
    peer: Option<Peer>,
    work: Option<Arc<Work>>,
    how: How,
    helper: Option<Helper>,
}

#[derive(Debug)]
struct Peer {
    pool: Arc<Memory>,
    flag: Memory,
}

impl Puller {
    pub(super) fn new(pool: usize) -> Result<Self> {
        let pool = Arc::new(Memory::create(pool)?);
        Ok(Self { pool, peer: None, work: None, how: How::Memcpy, helper: None })
    }
}

impl Pull for Puller {
    fn meet(&mut self, offer: &Value) -> Result<()> {
        let path = |name: &str| offer[name].as_str().map(PathBuf::from).unwrap_or_default();
        let len = offer["len"].as_u64().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        let open = |path: &Path, len| Memory::open(path, len);
        let peer = Peer { pool: Arc::new(open(&path("pool"), len)?), flag: open(&path("flag"), flag::BYTES)? };
        self.peer = Some(peer);
        Ok(())
    }

    fn prepare(&mut self, work: &Work, _: &Value) -> Result<()> {
        self.work = Some(Arc::new(work.clone()));
        Ok(())
    }

    fn choose(&mut self, way: &str) -> Result<()> {
        (self.how, self.helper) = match way {
            "memcpy1" => (How::Memcpy, None),
            "nt1" => (How::NonTemporal, None),
            "memcpy2" => (How::Memcpy, Some(Helper::start())),
            "nt2" => (How::NonTemporal, Some(Helper::start())),
            _ => return Err(Error::new(ErrorKind::Unsupported, format!("no way {way:?} to copy"))),
        };
        Ok(())
    }

    fn post(&mut self, _: &Work, pull: usize) -> Result<()> {
        let (Some(peer), Some(work)) = (&self.peer, &self.work) else {
            return Err(Error::new(ErrorKind::Invalid, "nobody was met, or nothing was prepared"));
        };
        let (list, size, how) = (work.list(pull), work.point.size, self.how);
        let half = if self.helper.is_some() { list.mine().len() / 2 } else { 0 };
        if let Some(helper) = &mut self.helper {
            let (from, to, work) = (Arc::clone(&peer.pool), Arc::clone(&self.pool), Arc::clone(work));
            helper.give(move || {
                let list = work.list(pull);
                // SAFETY: what a side has filled it no longer writes, and the first half of the list is this thread's.
                unsafe { copy::blocks(&from, &to, &list.theirs()[..half], &list.mine()[..half], size, how) };
                Ok(())
            })?;
        }
        // SAFETY: the second half of the list is this thread's; blocks of a list are different ones.
        unsafe { copy::blocks(&peer.pool, &self.pool, &list.theirs()[half..], &list.mine()[half..], size, how) };
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.helper.as_ref().map_or(Ok(()), Helper::wait)
    }

    fn pool(&mut self) -> &mut [u64] {
        Arc::get_mut(&mut self.pool).expect("a task that was waited for has given its pool back").words_mut()
    }

    fn notify(&mut self, wait: Wait) -> Result<()> {
        let peer = self.peer.as_ref().ok_or_else(|| Error::new(ErrorKind::Invalid, "nobody was met"))?;
        if wait == Wait::Sleeping { Err(asleep()) } else { flag::ask(&peer.flag) }
    }
}

fn asleep() -> Error {
    Error::new(ErrorKind::Unsupported, "a flag is seen by those who look")
}
