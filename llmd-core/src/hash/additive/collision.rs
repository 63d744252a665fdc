//! Why words are keyed before they are merged: two blocks that collide under every seed of a hash that does it afterwards.

use crate::TokenId;
use crate::hash::{AdditiveDigest, HashKey, HashScheme as _};

/// A vector, its first byte lowest.
type Vector = u128;

/// The constants of the hash that is broken, which are published.
const PUBLISHED: [u64; 9] = [
    0x2d35_8dcc_aa6c_78a5,
    0x8bb8_4b93_962e_acc9,
    0x4b33_a62e_d433_d4a3,
    0x4d5a_2da5_1de1_aa47,
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
    0xd6e8_feb8_6659_fd93,
];

fn constant(number: usize) -> Vector {
    Vector::from(PUBLISHED[number]) << 64 | Vector::from(PUBLISHED[(number + 3) % 9])
}

/// The product in the field of AES.
fn times(a: u8, b: u8) -> u8 {
    (0..8)
        .fold((0, a), |(sum, a), bit| {
            let sum = if b >> bit & 1 == 1 { sum ^ a } else { sum };
            (sum, a << 1 ^ if a & 0x80 == 0 { 0 } else { 0x1b })
        })
        .0
}

fn substitute(byte: u8) -> u8 {
    let inverse = (1..=255).find(|&other| times(byte, other) == 1).unwrap_or(0);
    (1..5).fold(inverse ^ 0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
}

/// Each column times the polynomial with these coefficients, lowest first.
fn mix(state: [u8; 16], coefficients: [u8; 4]) -> [u8; 16] {
    std::array::from_fn(|place| {
        let (column, row) = (place / 4 * 4, place % 4);
        (0..4).fold(0, |sum, other| sum ^ times(state[column + other], coefficients[(row + 4 - other) % 4]))
    })
}

/// A round of AES before its key is added.
fn round(state: Vector) -> Vector {
    let state = state.to_le_bytes();
    let shifted = std::array::from_fn(|place| substitute(state[(place + place % 4 * 4) % 16]));
    Vector::from_le_bytes(mix(shifted, [2, 1, 1, 3]))
}

/// What [`round`] makes `state` of.
fn unround(state: Vector) -> Vector {
    let shifted = mix(state.to_le_bytes(), [14, 9, 13, 11]);
    let mut before = [0; 16];
    for (place, byte) in shifted.into_iter().enumerate() {
        let original = (0..=255).find(|&original| substitute(original) == byte);
        before[(place + place % 4 * 4) % 16] = original.expect("every byte is substituted for one");
    }
    Vector::from_le_bytes(before)
}

/// What a fast hash of blocks with AES rounds made of the first block: its four vectors are merged pairwise under
/// published constants, and the seed is added to what comes of it.
fn seeded_late([a, b, c, d]: [Vector; 4], seed: u64) -> u64 {
    let key = constant;
    let position = seed.wrapping_add(PUBLISHED[8]);
    let position = Vector::from(position) << 64 | Vector::from(position);
    let left = round(merged(a, b)) ^ position;
    let right = round(round(c ^ key(2)) ^ position) ^ round(d ^ key(3)) ^ key(0);
    let right = round(right) ^ key(1);
    (round(left ^ right.rotate_left(64)) ^ key(2)) as u64
}

/// What no seed has touched.
fn merged(a: Vector, b: Vector) -> Vector {
    round(round(a ^ constant(0)) ^ constant(4)) ^ round(b ^ constant(1)) ^ constant(5)
}

/// A vector that makes of `other` what `b` makes of `a`.
fn partner(a: Vector, b: Vector, other: Vector) -> Vector {
    let wanted = merged(a, b) ^ round(round(other ^ constant(0)) ^ constant(4)) ^ constant(5);
    unround(wanted) ^ constant(1)
}

fn tokens(block: [Vector; 4]) -> Vec<TokenId> {
    let bytes: Vec<_> = block.iter().flat_map(|vector| vector.to_le_bytes()).collect();
    bytes.as_chunks().0.iter().map(|token| TokenId::from_le_bytes(*token)).collect()
}

/// What x86-64's `aesenc` makes of it with a key of zero.
#[test]
fn rounds_are_those_of_aes() {
    let (state, next) = (0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, 0x6443_f555_5927_d88c_21ff_754e_2b7e_e396);
    assert_eq!(round(state), next);
    assert_eq!(unround(next), state);
}

#[test]
fn two_blocks_that_collide_under_every_seed_do_not_collide_here() {
    let block = [1, 2, 3, 4].map(|number| Vector::from(number * 1000_u32));
    let [a, b, c, d] = block;
    let collides = [a ^ 1, partner(a, b, a ^ 1), c, d];
    assert_ne!(block, collides);
    for seed in 0..100_u8 {
        assert_eq!(seeded_late(block, seed.into()), seeded_late(collides, seed.into()), "seed {seed}");
        let scheme = AdditiveDigest::new(HashKey::from_bytes([seed; 32]), 16);
        let [one, other] = [block, collides].map(|block| scheme.next(&scheme.root(), 0, &tokens(block), &[]));
        assert_ne!(one, other, "key {seed}");
    }
    // It is no constant: another seed is another hash.
    assert_ne!(seeded_late(block, 0), seeded_late(block, 1));
}
