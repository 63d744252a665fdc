//! Names of blocks: cheap, and as good as different for different contents.

use llmd_core::TokenId;

/// The name of a block and all before it. Never 0.
pub(crate) type Name = u64;

/// What a chain begins with.
pub(super) const ROOT: Name = 0x243f_6a88_85a3_08d3;

/// The name of a block after `parent`, which is [`ROOT`] for the first block of a prompt.
pub(super) fn name(parent: Name, tokens: impl IntoIterator<Item = TokenId>) -> Name {
    let (mut name, mut tokens) = (parent, tokens.into_iter());
    while let Some(first) = tokens.next() {
        // Tokens are fewer than 2^32 - 1, so that no second one is like none.
        let second = tokens.next().unwrap_or(TokenId::MAX);
        name = mix(name ^ (u64::from(first) << 32 | u64::from(second)));
    }
    mix(name).max(1)
}

/// A token of an output: the same for the same seed and position.
pub(super) fn output_token(seed: u64, position: usize) -> TokenId {
    // Below 2^17, as the tokens of a real vocabulary.
    (mix(seed ^ (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 47) as TokenId
}

/// The two halves of a 128-bit product, folded.
const fn mix(value: u64) -> u64 {
    let product = (value ^ 0x9e37_79b9_7f4a_7c15) as u128 * 0xd6e8_feb8_6659_fd93_u128;
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_contents_have_different_names() {
        let blocks = (0..10_000_u32).map(|first| [first, first + 1, first + 2]);
        let names: HashSet<_> = blocks.flat_map(|block| [name(ROOT, block), name(1, block)]).collect();
        assert_eq!(names.len(), 20_000);
    }

    #[test]
    fn an_output_is_repeatable_and_its_own() {
        let output = |seed| (0..8).map(|position| output_token(seed, position)).collect::<Vec<_>>();
        assert_eq!(output(1), output(1));
        assert_ne!(output(1), output(2));
    }
}
