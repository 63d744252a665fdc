//! How a worker behaves.

use std::path::PathBuf;

use llmd_core::Result;

use super::invalid;
use crate::session::{Params, decode, prefill};

/// How a worker behaves, and where it listens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// Which shard of the model's cache it has. Default: 0.
    pub shard: u32,
    /// Of how many. Default: 1.
    pub shards: u32,
    /// How the side that prefills behaves.
    pub prefill: prefill::Settings,
    /// How the side that decodes behaves.
    pub decode: decode::Settings,
    /// How many agents finish what is granted of this shard: as many as the other engine has workers that need it. Default: 1.
    pub consumers: u16,
    /// The folder in which its socket lies: one that the scheduler sees too. Default: one of the user's own.
    pub folder: Option<PathBuf>,
    /// Where else it listens, as `tcp://HOST:PORT` or `unix:///PATH`. Default: at a socket in the folder.
    pub bind: Option<String>,
    /// At most how many requests have ended of which nobody has heard, before new ones are refused. Default: 65 536.
    pub max_untold: usize,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            shard: 0,
            shards: 1,
            prefill: prefill::Settings::default(),
            decode: decode::Settings::default(),
            consumers: 1,
            folder: None,
            bind: None,
            max_untold: 65_536,
        }
    }
}

impl WorkerSettings {
    pub(super) fn check(&self) -> Result<()> {
        let most = Params::MAX_PARTS as u32;
        if self.shards == 0 || self.shards > most {
            return Err(invalid(format!("{} shards, expected 1 to {most}", self.shards)));
        }
        if self.shard >= self.shards {
            return Err(invalid(format!("shard {}, expected less than {}", self.shard, self.shards)));
        }
        if self.consumers == 0 {
            return Err(invalid("0 consumers, expected 1 or more".into()));
        }
        if self.max_untold == 0 {
            return Err(invalid("max_untold 0, expected 1 or more".into()));
        }
        Ok(())
    }
}
