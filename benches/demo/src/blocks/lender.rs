//! The other process: it lends blocks, and does to them what it is told to.

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{Agent, Lease, Pool, Region};
use serde::{Deserialize, Serialize};

use super::{BLOCK_BYTES, BLOCKS, content, layout, transports};

/// The first argument of a demo that is to be the other process.
pub const LEND: &str = "lend";

/// What the other process is told, a line of JSON each.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Flip a bit in the middle of this block.
    Flip { block: u32 },
    /// Lend all blocks for so long.
    Lend { ms: u64 },
}

/// What it says, a line of JSON each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// What was ordered is done.
    Done,
    /// What was ordered failed.
    Failed(String),
    /// A grant, in base64.
    Lent(String),
    /// It is there, and this is its process id, as it sees it.
    Ready { pid: u32 },
}

/// Lends blocks as standard input says, until that ends.
pub fn lend() -> ExitCode {
    let served = Lender::new().and_then(|lender| {
        say(&Said::Ready { pid: std::process::id() })?;
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| gone(&error))?;
            let done = serde_json::from_str(&line)
                .map_err(|error| Error::new(ErrorKind::Invalid, format!("no order: {error}")))
                .and_then(|order| lender.obey(order));
            say(&done.unwrap_or_else(|error| Said::Failed(error.to_string())))?;
        }
        Ok(())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::console::Console::error(&format!("the process that lends blocks: {error}"));
            ExitCode::FAILURE
        }
    }
}

struct Lender {
    agent: Agent,
    pool: Pool,
}

impl Lender {
    fn new() -> Result<Self> {
        let agent = transports(Agent::builder("prefill"))?.build()?;
        let layout = layout()?;
        let pool = agent.register(Region::memfd(layout.end() as usize)?, layout)?;
        (0..BLOCKS).try_for_each(|block| pool.write_block(block, &content::of(block, BLOCK_BYTES as usize)))?;
        Ok(Self { agent, pool })
    }

    fn obey(&self, order: Order) -> Result<Said> {
        self.agent.poll(&mut Vec::new())?;
        match order {
            Order::Flip { block } => {
                let mut bytes = self.pool.read_block(block)?;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                self.pool.write_block(block, &bytes)?;
                Ok(Said::Done)
            }
            Order::Lend { ms } => {
                let blocks: Vec<u32> = (0..BLOCKS).collect();
                let time = Duration::from_millis(ms);
                let grant = self.agent.grant(&self.pool, &blocks, Lease::new(time).at_most(time))?;
                Ok(Said::Lent(STANDARD.encode(grant.to_bytes())))
            }
        }
    }
}

fn say(said: &Said) -> Result<()> {
    let mut out = io::stdout().lock();
    let line = serde_json::to_string(said).expect("what is said is plain data");
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| gone(&error))
}

fn gone(error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the demo is gone: {error}"))
}
