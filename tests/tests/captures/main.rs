//! What real engines said, byte for byte: every batch decodes to what the engine's own decoder reads, every hash follows
//! from the tokens, and no damage to a batch does more than it must.

mod damaged;
mod decoded;
mod fixtures;
mod hash_vectors;
mod meaning;
mod recomputed;
mod sglang_vectors;
