//! `mooncake`: both engines are told of one transfer, and start at once.

use llmd_core::protocol::{DO_REMOTE_DECODE, DO_REMOTE_PREFILL};
use llmd_core::{Error, ErrorKind, Result};

use super::address::Address;
use super::body::Body;
use super::single_token::{Limits, single_token};
use super::{Connector, Decode, Handover, Leg, Order, Original, RANK_HEADER};

/// Mooncake's transfer engine: the prefiller's bootstrap server says which engines there are, one of them is chosen, and the
/// decoder is told where to ask for it.
///
/// Rules: llm-d's `mooncake`.
#[derive(Clone, Copy, Debug)]
pub struct Mooncake {
    port: u16,
}

/// An engine that a bootstrap server knows: one rank of the prefiller.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Engine {
    /// Its data-parallel rank.
    pub rank: u32,
    /// What it is called.
    pub id: String,
}

/// The engines that a bootstrap server knows: at least one, by rank.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Engines(Vec<Engine>);

impl Mooncake {
    /// llm-d's default, `MOONCAKE_BOOTSTRAP_PORT`.
    pub const PORT: u16 = 8998;

    /// With bootstrap servers at this port.
    pub const fn at(port: u16) -> Self {
        Self { port }
    }

    fn server(&self, prefiller: &str) -> String {
        format!("http://{}", Address::of(prefiller).at(self.port))
    }
}

impl Default for Mooncake {
    fn default() -> Self {
        Self::at(Self::PORT)
    }
}

impl Connector for Mooncake {
    fn name(&self) -> &'static str {
        "mooncake"
    }

    fn order(&self, _: &Original<'_>) -> Order {
        Order::Concurrent
    }

    fn bootstrap_url(&self, prefiller: &str) -> Option<String> {
        Some(self.server(prefiller) + "/query")
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        let params = Body::default()
            .with(DO_REMOTE_PREFILL, false)
            .with(DO_REMOTE_DECODE, true)
            .with("transfer_id", transfer_id(handover));
        let mut leg = original.with_params(&params).with_header(RANK_HEADER, handover.engine()?.rank.to_string());
        single_token(&mut leg.body, original.api(), Limits::Said)?;
        Ok(leg)
    }

    fn decode<'a>(&self, original: &Original<'a>, handover: &Handover<'_>, _: Option<&'a [u8]>) -> Result<Decode<'a>> {
        let params = Body::default()
            .with(DO_REMOTE_PREFILL, true)
            .with(DO_REMOTE_DECODE, false)
            .with("transfer_id", transfer_id(handover))
            .with("remote_bootstrap_addr", self.server(handover.prefiller))
            .with("remote_engine_id", handover.engine()?.id.as_str());
        Ok(Decode::handed(original.with_params(&params)))
    }
}

fn transfer_id(handover: &Handover<'_>) -> String {
    format!("xfer-{}", handover.request_id)
}

impl Engines {
    /// Reads a bootstrap server's answer: `{"0": {"engine_id": "…"}, "1": …}`. What has no engine is left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when it is no such object, or has no engine.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let ranks = Body::read(bytes, "the bootstrap server's answer", ErrorKind::Corrupt)?;
        let engine = |rank: &str| Some(Engine { rank: rank.parse().ok()?, id: ranks.object(rank)?.text("engine_id")? });
        let mut engines: Vec<_> = ranks.iter().filter_map(|(rank, _)| engine(rank)).collect();
        engines.sort_unstable_by_key(|engine| engine.rank);
        engines.dedup();
        if engines.is_empty() {
            let message = "the bootstrap server's answer has no rank with an engine_id: expected at least one";
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(Self(engines))
    }

    /// The engine that a number drawn at random falls on.
    pub fn pick(&self, drawn: u64) -> &Engine {
        let place = drawn % self.0.len() as u64;
        &self.0[usize::try_from(place).expect("a place in a list")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_server_names_the_engine_of_each_rank() {
        let answer = br#"{"1": {"engine_id": "b", "x": [1]}, "0": {"engine_id": "a"}, "2": {}, "3": 7, "x": {"engine_id": "c"}}"#;
        let engines = Engines::parse(answer).unwrap();
        let picked: Vec<_> = (0..3).map(|drawn| (engines.pick(drawn).rank, engines.pick(drawn).id.as_str())).collect();
        assert_eq!(picked, [(0, "a"), (1, "b"), (0, "a")]);
    }

    #[test]
    fn an_answer_without_an_engine_is_corrupt() {
        for answer in ["{}", r#"{"0": {"engine_id": 7}}"#, "[]", ""] {
            assert_eq!(Engines::parse(answer.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt, "{answer}");
        }
    }

    #[test]
    fn the_bootstrap_server_is_on_the_prefillers_host() {
        let url = |prefiller| Mooncake::default().bootstrap_url(prefiller).unwrap();
        assert_eq!(url("10.0.0.1:8000"), "http://10.0.0.1:8998/query");
        assert_eq!(url("http://[fd00::1]:8000"), "http://[fd00::1]:8998/query");
    }
}
