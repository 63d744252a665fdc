//! The words that engines use in events, as Python has them.

use std::borrow::Cow;

use llmd_core::event::EventExtraKey;
use llmd_core::{ExternalBlockHash, Locality};
use pyo3::prelude::*;

/// The engine's name for a block.
#[derive(Debug, IntoPyObject)]
pub(crate) enum Name {
    Int(u64),
    Bytes(Cow<'static, [u8]>),
}

impl Name {
    pub(crate) fn new(name: &ExternalBlockHash) -> Self {
        match (name.as_int(), name.as_bytes()) {
            (Some(name), _) => Self::Int(name),
            (None, name) => Self::Bytes(name.unwrap_or_default().to_vec().into()),
        }
    }

    pub(crate) fn all(names: &[ExternalBlockHash]) -> Vec<Self> {
        names.iter().map(Self::new).collect()
    }
}

/// What besides tokens entered a block's hash.
#[derive(Debug, IntoPyObject)]
pub(crate) enum ExtraKey {
    Text(String),
    Digest(Cow<'static, [u8]>),
    Item((String, i64)),
}

impl ExtraKey {
    pub(super) fn new(key: &EventExtraKey) -> Self {
        match key {
            EventExtraKey::Digest(digest) => Self::Digest(digest.clone().into()),
            EventExtraKey::Multimodal { identifier, offset } => Self::Item((identifier.clone(), *offset)),
            EventExtraKey::Text(text) => Self::Text(text.clone()),
            other => Self::Text(format!("{other:?}")),
        }
    }
}

pub(super) const fn locality(locality: Locality) -> &'static str {
    match locality {
        Locality::Remote => "REMOTE",
        _ => "LOCAL",
    }
}
