//! The keyed chain of a prompt.

use std::hint::black_box;

use llmd_core::hash::{BlockHasher, Chain, Form, HashKey, Namespace};

use crate::prompt::{BLOCK_SIZE, tokens};
use crate::{TIMES, counted};

/// In the best form of the processor that callgrind shows, which has no wide vectors.
pub(crate) fn chain() {
    chain_by(Form::best());
}

/// In the form that every processor has.
pub(crate) fn chain_portable() {
    chain_by(Form::Portable);
}

fn chain_by(form: Form) {
    let hasher = BlockHasher::with_form(HashKey::from_bytes([7; 32]), BLOCK_SIZE, form);
    let hasher = hasher.expect("the processor has it");
    let (prompt, namespace, mut chain) = (tokens(1, 1024), Namespace::default(), Chain::default());
    hasher.chain_into(&prompt, &namespace, &mut chain);
    for _ in 0..TIMES {
        counted(&mut || hasher.chain_into(black_box(&prompt), &namespace, &mut chain));
    }
    black_box(chain);
}
