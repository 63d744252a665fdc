//! What a worker says to its scheduler.

use std::time::Duration;

use llmd_core::{GroupIdx, Result};

use super::{MAX_GROUPS, MAX_WHY, begin, cut, expect, group, several};
use crate::grant::AgentId;
use crate::layout::KvLayout;
use crate::session::{GrantBytes, Params};

/// Who a worker is, and what it has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::engine) struct Here {
    /// Another after each start.
    pub(in crate::engine) boot: AgentId,
    pub(in crate::engine) shard: u32,
    pub(in crate::engine) shards: u32,
    /// How long its leases last, unless they are kept.
    pub(in crate::engine) ttl: Duration,
    /// In the order of the groups.
    pub(in crate::engine) groups: Vec<(GroupIdx, KvLayout)>,
}

/// What a worker says to its scheduler.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::engine) enum Notice {
    /// What this number names has ended, and whoever asks the worker hears of it. When the request waits, it can be loaded yet.
    Ended { number: u64, is_waiting: bool },
    /// The blocks are granted, group by group.
    Granted { number: u64, grants: Vec<(GroupIdx, GrantBytes)> },
    /// The first that is said.
    Here(Here),
    /// The blocks are not granted, and never will be.
    NotGranted { number: u64, why: String },
    /// Nothing follows.
    Refused { why: String },
}

const ENDED: u8 = 1;
const GRANTED: u8 = 2;
const HERE: u8 = 3;
const NOT_GRANTED: u8 = 4;
const REFUSED: u8 = 5;

impl Notice {
    pub(in crate::engine) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ended { number, is_waiting } => {
                let mut writer = begin(ENDED);
                writer.number(*number);
                writer.byte((*is_waiting).into());
                writer.into_bytes()
            }
            Self::Granted { number, grants } => {
                let mut writer = begin(GRANTED);
                writer.number(*number);
                writer.number(grants.len() as u64);
                for (group, grant) in grants {
                    writer.number(group.0.into());
                    writer.bytes(grant);
                }
                writer.into_bytes()
            }
            Self::Here(Here { boot, shard, shards, ttl, groups }) => {
                let mut writer = begin(HERE);
                writer.raw(&boot.to_bytes());
                writer.number((*shard).into());
                writer.number((*shards).into());
                writer.number(ttl.as_millis().try_into().unwrap_or(u64::MAX));
                writer.number(groups.len() as u64);
                for (group, layout) in groups {
                    writer.number(group.0.into());
                    layout.encode(&mut writer);
                }
                writer.into_bytes()
            }
            Self::NotGranted { number, why } => {
                let mut writer = begin(NOT_GRANTED);
                writer.number(*number);
                writer.text(cut(why));
                writer.into_bytes()
            }
            Self::Refused { why } => {
                let mut writer = begin(REFUSED);
                writer.text(cut(why));
                writer.into_bytes()
            }
        }
    }

    /// # Errors
    ///
    /// [`Corrupt`](llmd_core::ErrorKind::Corrupt) with the field that is wrong, and
    /// [`Unsupported`](llmd_core::ErrorKind::Unsupported) for one of another version.
    pub(in crate::engine) fn decode(bytes: &[u8]) -> Result<Self> {
        let (kind, mut reader) = expect("notice", bytes)?;
        let notice = match kind {
            ENDED => {
                Self::Ended { number: reader.number("number")?, is_waiting: reader.at_most("is waiting", 1)? == 1 }
            }
            GRANTED => Self::Granted {
                number: reader.number("number")?,
                grants: several(&mut reader, "grants", MAX_GROUPS, |reader| {
                    Ok((group(reader)?, reader.bytes("grant", Params::MAX_BYTES)?.into()))
                })?,
            },
            HERE => Self::Here(Here {
                boot: AgentId::from_bytes(reader.array("boot")?),
                shard: reader.small("shard")?,
                shards: reader.small("shards")?,
                ttl: Duration::from_millis(reader.number("ttl")?),
                groups: several(&mut reader, "groups", MAX_GROUPS, |reader| {
                    Ok((group(reader)?, KvLayout::decode(reader)?))
                })?,
            }),
            NOT_GRANTED => {
                Self::NotGranted { number: reader.number("number")?, why: reader.text("why", MAX_WHY)?.to_owned() }
            }
            REFUSED => Self::Refused { why: reader.text("why", MAX_WHY)?.to_owned() },
            _ => return Err(reader.wrong("kind", format_args!("is {kind}, expected {ENDED} to {REFUSED}"))),
        };
        reader.end()?;
        Ok(notice)
    }
}
