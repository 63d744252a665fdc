//! What a scheduler says to its workers.

use llmd_core::{GroupIdx, Result};

use super::{MAX_GROUPS, begin, expect, group, id, several};
use crate::outcome::Blocks;
use crate::session::decode::Allocation;
use crate::session::{GrantBytes, Params, RequestId};
use crate::wire::Reader;

/// Of each group, the token at which its first block begins, and its blocks.
pub(in crate::engine) type Groups = Vec<(GroupIdx, u32, Vec<u32>)>;

/// What a scheduler says to its workers, and they do in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::engine) enum Command {
    /// The engine does not want the request any more. What is under way ends as ever, only sooner.
    Abort { id: RequestId },
    /// Blocks were allocated; `number` names this for ever.
    Allocated { number: u64, id: RequestId, local_tokens: u32, external_tokens: u32, groups: Vec<Allocation> },
    /// A request arrived that others computed.
    Arrive { id: RequestId, prompt_tokens: u32, text: String },
    /// A request was computed: grant its blocks, and answer; `number` names this for ever.
    Computed { number: u64, id: RequestId, tokens: u32, groups: Groups },
    /// Nobody was told how to fetch what was computed: its blocks are the engine's again already.
    GiveUp { id: RequestId },
    /// Say that this has ended, if it is not under way.
    Holds { number: u64 },
    /// The engine takes the blocks back.
    Preempted { id: RequestId },
    /// Nobody here wants what these grant.
    Release { grants: Vec<GrantBytes> },
}

const ABORT: u8 = 1;
const ALLOCATED: u8 = 2;
const ARRIVE: u8 = 3;
const COMPUTED: u8 = 4;
const GIVE_UP: u8 = 5;
const HOLDS: u8 = 6;
const PREEMPTED: u8 = 7;
const RELEASE: u8 = 8;

const MAX_TEXT: usize = 64 << 10;

impl Command {
    pub(in crate::engine) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Abort { id } => named(ABORT, id),
            Self::Allocated { number, id, local_tokens, external_tokens, groups } => {
                let mut writer = begin(ALLOCATED);
                writer.number(*number);
                writer.text(id.as_str());
                writer.number((*local_tokens).into());
                writer.number((*external_tokens).into());
                writer.number(groups.len() as u64);
                for Allocation { group, block_tokens, from_token, blocks } in groups {
                    for number in [group.0, *block_tokens, *from_token] {
                        writer.number(number.into());
                    }
                    writer.blocks(blocks);
                }
                writer.into_bytes()
            }
            Self::Arrive { id, prompt_tokens, text } => {
                let mut writer = begin(ARRIVE);
                writer.text(id.as_str());
                writer.number((*prompt_tokens).into());
                writer.text(text);
                writer.into_bytes()
            }
            Self::Computed { number, id, tokens, groups } => {
                let mut writer = begin(COMPUTED);
                writer.number(*number);
                writer.text(id.as_str());
                writer.number((*tokens).into());
                writer.number(groups.len() as u64);
                for (group, from_token, blocks) in groups {
                    for number in [group.0, *from_token] {
                        writer.number(number.into());
                    }
                    writer.blocks(blocks);
                }
                writer.into_bytes()
            }
            Self::GiveUp { id } => named(GIVE_UP, id),
            Self::Holds { number } => {
                let mut writer = begin(HOLDS);
                writer.number(*number);
                writer.into_bytes()
            }
            Self::Preempted { id } => named(PREEMPTED, id),
            Self::Release { grants } => {
                let mut writer = begin(RELEASE);
                writer.number(grants.len() as u64);
                grants.iter().for_each(|grant| writer.bytes(grant));
                writer.into_bytes()
            }
        }
    }

    /// # Errors
    ///
    /// [`Corrupt`](llmd_core::ErrorKind::Corrupt) with the field that is wrong, and
    /// [`Unsupported`](llmd_core::ErrorKind::Unsupported) for one of another version.
    pub(in crate::engine) fn decode(bytes: &[u8]) -> Result<Self> {
        let (kind, mut reader) = expect("command", bytes)?;
        let command = match kind {
            ABORT => Self::Abort { id: id(&mut reader)? },
            ALLOCATED => Self::Allocated {
                number: reader.number("number")?,
                id: id(&mut reader)?,
                local_tokens: reader.small("local tokens")?,
                external_tokens: reader.small("external tokens")?,
                groups: several(&mut reader, "groups", MAX_GROUPS, allocation)?,
            },
            ARRIVE => Self::Arrive {
                id: id(&mut reader)?,
                prompt_tokens: reader.small("prompt tokens")?,
                text: reader.text("grant", MAX_TEXT)?.to_owned(),
            },
            COMPUTED => Self::Computed {
                number: reader.number("number")?,
                id: id(&mut reader)?,
                tokens: reader.small("tokens")?,
                groups: several(&mut reader, "groups", MAX_GROUPS, |reader| {
                    Ok((group(reader)?, reader.small("from token")?, reader.blocks("blocks", Blocks::MAX)?))
                })?,
            },
            GIVE_UP => Self::GiveUp { id: id(&mut reader)? },
            HOLDS => Self::Holds { number: reader.number("number")? },
            PREEMPTED => Self::Preempted { id: id(&mut reader)? },
            RELEASE => Self::Release {
                grants: several(&mut reader, "grants", Params::MAX_PARTS, |reader| {
                    Ok(reader.bytes("grant", Params::MAX_BYTES)?.into())
                })?,
            },
            _ => return Err(reader.wrong("kind", format_args!("is {kind}, expected {ABORT} to {RELEASE}"))),
        };
        reader.end()?;
        Ok(command)
    }
}

fn named(kind: u8, id: &RequestId) -> Vec<u8> {
    let mut writer = begin(kind);
    writer.text(id.as_str());
    writer.into_bytes()
}

fn allocation(reader: &mut Reader<'_>) -> Result<Allocation> {
    Ok(Allocation {
        group: group(reader)?,
        block_tokens: reader.small("block tokens")?,
        from_token: reader.small("from token")?,
        blocks: reader.blocks("blocks", Blocks::MAX)?,
    })
}
