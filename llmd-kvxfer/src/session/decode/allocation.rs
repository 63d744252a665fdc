//! The blocks into which a group is fetched.

use llmd_core::{GroupIdx, Result};

use crate::Blocks;
use crate::session::Params;
use crate::session::params::invalid;

/// The blocks that an engine allocated for what comes from outside, of one cache group.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "blocks of a size begin at a token")]
pub struct Allocation {
    /// The cache group.
    pub group: GroupIdx,
    /// How many tokens a block of the group has.
    pub block_tokens: u32,
    /// The token at which the first block begins: behind the local hits, or later where a group forgets.
    pub from_token: u32,
    /// The blocks, in the order of the tokens, up to the last token that comes from outside; without those of local hits.
    pub blocks: Vec<u32>,
}

impl Allocation {
    /// Where this block begins.
    pub(super) fn begin(&self, block: usize) -> u32 {
        self.from_token + block as u32 * self.block_tokens
    }

    /// The first block that does not begin before this token; one that is not there, when all do.
    pub(super) fn first_not_before(&self, token: u32) -> usize {
        token.saturating_sub(self.from_token).div_ceil(self.block_tokens) as usize
    }

    pub(super) fn none(&self) -> Blocks {
        Blocks::none(self.blocks.len())
    }

    /// Whether these are the blocks of the tokens from `local` on until `end`.
    pub(crate) fn check(groups: &[Self], local: u32, end: u32) -> Result<()> {
        if groups.is_empty() || groups.len() > Params::MAX_PARTS {
            return Err(invalid(format!("{} groups: expected 1 to {}", groups.len(), Params::MAX_PARTS)));
        }
        for (at, allocation) in groups.iter().enumerate() {
            let group = allocation.group;
            if groups[..at].iter().any(|earlier| earlier.group == group) {
                return Err(invalid(format!("group {} twice: expected once", group.0)));
            }
            allocation.check_span(local, end)?;
        }
        Ok(())
    }

    fn check_span(&self, local: u32, end: u32) -> Result<()> {
        let Self { group: GroupIdx(group), block_tokens, from_token, blocks } = self;
        if *block_tokens == 0 {
            return Err(invalid(format!("group {group} has blocks of 0 tokens: expected 1 or more")));
        }
        if from_token.saturating_add(*block_tokens) <= local {
            return Err(invalid(format!(
                "group {group} begins at token {from_token}: expected no block of the {local} local tokens"
            )));
        }
        let expected = end.saturating_sub(*from_token).div_ceil(*block_tokens) as usize;
        if expected == 0 {
            return Err(invalid(format!("group {group} begins at token {from_token}: expected less than {end}")));
        }
        if blocks.len() != expected || expected > Blocks::MAX {
            let expected = expected.min(Blocks::MAX);
            return Err(invalid(format!("group {group} has {} blocks: expected {expected}", blocks.len())));
        }
        Ok(())
    }
}
