//! What is drawn, or comes from elsewhere, for one request.

use llmd_core::{Error, ErrorKind, Result};

use super::address::Address;
use super::mooncake::Engine;

/// What is drawn, or comes from elsewhere, for one request: the same for both of its stages.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Handover<'h> {
    /// The id under which both engines know the request, a UUID that is used once.
    pub request_id: &'h str,
    /// Where the prefiller is: host and port.
    pub prefiller: &'h str,
    /// Where the decoder is: host and port. Only MoRI-IO's prefiller must know.
    pub decoder: Option<&'h str>,
    /// From whom the beginning of the prompt is pulled.
    pub kv_source: Option<KvSource<'h>>,
    /// The engine that prefills, as Mooncake's bootstrap server names it.
    pub engine: Option<&'h Engine>,
    /// The data-parallel rank that both engines are to use, by whatever both sides agree on. llm-d's is the first 8 bytes of
    /// BLAKE2s-256 of the request's id, most significant first, modulo the number of ranks.
    pub rank: u32,
    /// Where SGLang's engines meet. llm-d's is the time in nanoseconds plus a random number below 1000.
    pub room: Option<i64>,
}

/// From whom the beginning of a prompt is pulled.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KvSource<'h> {
    /// Where it is: host and port.
    pub endpoint: &'h str,
    /// The id of the pull, a UUID that is used once.
    pub kv_request_id: &'h str,
}

impl<'h> Handover<'h> {
    /// A request of this id, whose prefiller is there.
    pub const fn new(request_id: &'h str, prefiller: &'h str) -> Self {
        Self { request_id, prefiller, decoder: None, kv_source: None, engine: None, rank: 0, room: None }
    }

    /// The same, with the decoder there.
    #[must_use]
    pub const fn with_decoder(self, decoder: &'h str) -> Self {
        Self { decoder: Some(decoder), ..self }
    }

    /// The same, pulling the beginning of the prompt from there.
    #[must_use]
    pub const fn with_kv_source(self, source: KvSource<'h>) -> Self {
        Self { kv_source: Some(source), ..self }
    }

    /// The same, prefilled by this engine of Mooncake's.
    #[must_use]
    pub const fn with_engine(self, engine: &'h Engine) -> Self {
        Self { engine: Some(engine), ..self }
    }

    /// The same, on this rank.
    #[must_use]
    pub const fn with_rank(self, rank: u32) -> Self {
        Self { rank, ..self }
    }

    /// The same, meeting in this room.
    #[must_use]
    pub const fn with_room(self, room: i64) -> Self {
        Self { room: Some(room), ..self }
    }

    pub(super) fn decoder(&self) -> Result<Address<'h>> {
        self.decoder.map(Address::of).ok_or_else(|| absent("nixlv2 with MoRI-IO", "a decoder"))
    }

    pub(super) fn engine(&self) -> Result<&'h Engine> {
        self.engine.ok_or_else(|| absent("mooncake", "an engine of its bootstrap server"))
    }

    pub(super) fn room(&self) -> Result<i64> {
        self.room.ok_or_else(|| absent("sglang", "a bootstrap room"))
    }
}

impl<'h> KvSource<'h> {
    /// A pull of this id from there.
    pub const fn new(endpoint: &'h str, kv_request_id: &'h str) -> Self {
        Self { endpoint, kv_request_id }
    }
}

fn absent(connector: &str, expected: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the handover of {connector} lacks something: expected {expected}"))
}
