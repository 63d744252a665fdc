//! What is said between a scheduler and its workers.

use llmd_core::{GroupIdx, Result};

use crate::layout::KvLayout;
use crate::session::decode::Allocation;
use crate::session::{Params, RequestId};
use crate::wire::{Reader, Writer};

/// The version of all of it, which both sides say first.
pub(super) const VERSION: u8 = 1;

/// How long a message may be.
pub(super) const MAX_BYTES: usize = 16 << 20;
const MAX_BLOCKS: usize = 1 << 20;
const MAX_GROUPS: u64 = 1024;
const MAX_TEXT: usize = 64 << 10;
const MAX_WHY: usize = 1024;

/// Blocks of one group of which a request was computed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Computed {
    pub(super) group: GroupIdx,
    pub(super) from_token: u32,
    pub(super) blocks: Vec<u32>,
}

/// What a scheduler says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Command {
    /// Lend what was computed, and answer under this number.
    Computed {
        number: u64,
        request: RequestId,
        tokens: u32,
        groups: Vec<Computed>,
    },
    /// The answer to this request names what was lent: the engine waits until its blocks are free.
    Confirm {
        request: RequestId,
    },
    /// It does not, and the engine has taken its blocks back.
    Revoke {
        request: RequestId,
    },
    Arrive {
        request: RequestId,
        prompt_tokens: u32,
        text: String,
    },
    Allocated {
        request: RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    },
    Abort {
        request: RequestId,
    },
    Preempted {
        request: RequestId,
    },
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// Once the two know each other: which rank it is, and how its caches lie.
    Hello { shard: u32, shards: u32, groups: Vec<(GroupIdx, KvLayout)> },
    /// What lets it be fetched, or why it was not lent.
    Granted { number: u64, granted: std::result::Result<String, String> },
}

impl Command {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Computed { number, request, tokens, groups } => {
                writer.byte(1);
                writer.number(*number);
                writer.text(request.as_str());
                writer.number((*tokens).into());
                writer.number(groups.len() as u64);
                for Computed { group, from_token, blocks } in groups {
                    writer.number(group.0.into());
                    writer.number((*from_token).into());
                    writer.blocks(blocks);
                }
            }
            Self::Confirm { request } => named(&mut writer, 2, request),
            Self::Revoke { request } => named(&mut writer, 3, request),
            Self::Arrive { request, prompt_tokens, text } => {
                named(&mut writer, 4, request);
                writer.number((*prompt_tokens).into());
                writer.text(text);
            }
            Self::Allocated { request, local_tokens, external_tokens, groups } => {
                named(&mut writer, 5, request);
                writer.number((*local_tokens).into());
                writer.number((*external_tokens).into());
                writer.number(groups.len() as u64);
                for Allocation { group, block_tokens, from_token, blocks } in groups {
                    writer.number(group.0.into());
                    writer.number((*block_tokens).into());
                    writer.number((*from_token).into());
                    writer.blocks(blocks);
                }
            }
            Self::Abort { request } => named(&mut writer, 6, request),
            Self::Preempted { request } => named(&mut writer, 7, request),
        }
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("a scheduler's command", bytes);
        let command = match reader.byte("kind")? {
            1 => {
                let (number, request) = (reader.number("number")?, request(&mut reader)?);
                let tokens = reader.small("tokens")?;
                let groups = groups(&mut reader, |reader, group| {
                    let from_token = reader.small("from_token")?;
                    Ok(Computed { group, from_token, blocks: reader.blocks("blocks", MAX_BLOCKS)? })
                })?;
                Self::Computed { number, request, tokens, groups }
            }
            2 => Self::Confirm { request: request(&mut reader)? },
            3 => Self::Revoke { request: request(&mut reader)? },
            4 => Self::Arrive {
                request: request(&mut reader)?,
                prompt_tokens: reader.small("prompt_tokens")?,
                text: reader.text("grant", Params::MAX_BYTES / 3 * 4)?.to_owned(),
            },
            5 => {
                let request = request(&mut reader)?;
                let (local_tokens, external_tokens) = (reader.small("local_tokens")?, reader.small("external_tokens")?);
                let groups = groups(&mut reader, |reader, group| {
                    let (block_tokens, from_token) = (reader.small("block_tokens")?, reader.small("from_token")?);
                    Ok(Allocation { group, block_tokens, from_token, blocks: reader.blocks("blocks", MAX_BLOCKS)? })
                })?;
                Self::Allocated { request, local_tokens, external_tokens, groups }
            }
            6 => Self::Abort { request: request(&mut reader)? },
            7 => Self::Preempted { request: request(&mut reader)? },
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected 1 to 7"))),
        };
        reader.end()?;
        Ok(command)
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Hello { shard, shards, groups } => {
                writer.byte(1);
                writer.number((*shard).into());
                writer.number((*shards).into());
                writer.number(groups.len() as u64);
                for (group, layout) in groups {
                    writer.number(group.0.into());
                    layout.encode(&mut writer);
                }
            }
            Self::Granted { number, granted } => {
                writer.byte(2);
                writer.number(*number);
                writer.byte(granted.is_ok().into());
                match granted {
                    Ok(text) => writer.text(text),
                    Err(why) => {
                        let end = (0..=why.len().min(MAX_WHY)).rev().find(|&end| why.is_char_boundary(end));
                        writer.text(&why[..end.unwrap_or_default()]);
                    }
                }
            }
        }
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("a worker's reply", bytes);
        let reply = match reader.byte("kind")? {
            1 => {
                let (shard, shards) = (reader.small("shard")?, reader.small("shards")?);
                let groups = groups(&mut reader, |reader, group| Ok((group, KvLayout::decode(reader)?)))?;
                Self::Hello { shard, shards, groups }
            }
            2 => {
                let number = reader.number("number")?;
                let granted = match reader.at_most("granted", 1)? {
                    1 => Ok(reader.text("grant", MAX_TEXT)?.to_owned()),
                    _ => Err(reader.text("why", MAX_WHY)?.to_owned()),
                };
                Self::Granted { number, granted }
            }
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected 1 or 2"))),
        };
        reader.end()?;
        Ok(reply)
    }
}

fn named(writer: &mut Writer, kind: u8, request: &RequestId) {
    writer.byte(kind);
    writer.text(request.as_str());
}

fn request(reader: &mut Reader<'_>) -> Result<RequestId> {
    RequestId::new(reader.text("request", RequestId::MAX_BYTES)?)
}

fn groups<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>, GroupIdx) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.at_most("groups", MAX_GROUPS)?;
    (0..count)
        .map(|_| {
            let group = GroupIdx(reader.small("group")?);
            read(reader, group)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::layout::KvShape;

    fn requests() -> impl Strategy<Value = RequestId> {
        "[a-z0-9-]{1,20}".prop_map(|name| RequestId::new(&name).unwrap())
    }

    fn commands() -> impl Strategy<Value = Command> {
        let blocks = || vec(any::<u32>(), 0..6);
        let computed = (any::<u32>(), any::<u32>(), blocks()).prop_map(|(group, from_token, blocks)| Computed {
            group: GroupIdx(group),
            from_token,
            blocks,
        });
        let allocated = (any::<u32>(), any::<u32>(), any::<u32>(), blocks()).prop_map(
            |(group, block_tokens, from_token, blocks)| Allocation {
                group: GroupIdx(group),
                block_tokens,
                from_token,
                blocks,
            },
        );
        prop_oneof![
            (any::<u64>(), requests(), any::<u32>(), vec(computed, 0..3))
                .prop_map(|(number, request, tokens, groups)| Command::Computed { number, request, tokens, groups }),
            requests().prop_map(|request| Command::Confirm { request }),
            requests().prop_map(|request| Command::Revoke { request }),
            (requests(), any::<u32>(), "[A-Za-z0-9_-]{0,40}")
                .prop_map(|(request, prompt_tokens, text)| Command::Arrive { request, prompt_tokens, text }),
            (requests(), any::<u32>(), any::<u32>(), vec(allocated, 0..3)).prop_map(
                |(request, local_tokens, external_tokens, groups)| {
                    Command::Allocated { request, local_tokens, external_tokens, groups }
                }
            ),
            requests().prop_map(|request| Command::Abort { request }),
            requests().prop_map(|request| Command::Preempted { request }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(command in commands()) {
            prop_assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        }

        #[test]
        fn bytes_of_nobody_are_an_error_or_are_written_again(bytes: Vec<u8>) {
            if let Ok(command) = Command::decode(&bytes) {
                prop_assert_eq!(command.encode(), bytes.clone());
            }
            if let Ok(reply) = Reply::decode(&bytes) {
                prop_assert_eq!(reply.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_bytes_of_this_version_stay_what_they_are() {
        let request = RequestId::new("cmpl-7").unwrap();
        let computed = Computed { group: GroupIdx(0), from_token: 0, blocks: vec![4, 9, 2] };
        let command = Command::Computed { number: 1, request: request.clone(), tokens: 40, groups: vec![computed] };
        assert_eq!(hex::encode(command.encode()), "010106636d706c2d37280100000308".to_owned() + "0a0d");
        let shape = KvShape { layers: 1, blocks: 2, heads: 1, tokens: 1, parts: 1, content: 8 };
        let layout = KvLayout::named("LBNHC", shape).unwrap().of_format("x");
        let hello = Reply::Hello { shard: 0, shards: 1, groups: vec![(GroupIdx(0), layout)] };
        assert_eq!(Reply::decode(&hello.encode()).unwrap(), hello);
        let granted = Reply::Granted { number: 1, granted: Err("all 4096 requests are held".into()) };
        assert_eq!(Reply::decode(&granted.encode()).unwrap(), granted);
        assert_eq!(hex::encode(Command::Abort { request }.encode()), "0606636d706c2d37");
    }
}
