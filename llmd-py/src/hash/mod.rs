//! The names of blocks as engines have them.

mod hasher;
mod memo;

pub(crate) use hasher::BlockHasher;
pub(crate) use memo::SessionMemo;
