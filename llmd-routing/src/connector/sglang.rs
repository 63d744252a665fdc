//! `sglang`: both engines get the same body and meet in a room.

use llmd_core::Result;

use super::address::Address;
use super::{Connector, Decode, Handover, Leg, Order, Original};

/// SGLang's disaggregation: both bodies say where the prefiller's bootstrap server is, and in which room the two meet.
///
/// Rules: llm-d's `sglang`. The limits of the request stay: SGLang's prefiller stops by itself.
#[derive(Clone, Copy, Debug)]
pub struct SgLang {
    port: u16,
}

impl SgLang {
    /// llm-d's default, `SGLANG_BOOTSTRAP_PORT`.
    pub const PORT: u16 = 8998;

    /// With bootstrap servers at this port.
    pub const fn at(port: u16) -> Self {
        Self { port }
    }
}

impl Default for SgLang {
    fn default() -> Self {
        Self::at(Self::PORT)
    }
}

impl Connector for SgLang {
    fn name(&self) -> &'static str {
        "sglang"
    }

    fn order(&self, _: &Original<'_>) -> Order {
        Order::Concurrent
    }

    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>> {
        let mut leg = original.as_is();
        leg.body.put("bootstrap_host", Address::of(handover.prefiller).host);
        leg.body.put("bootstrap_port", self.port);
        leg.body.put("bootstrap_room", handover.room()?);
        Ok(leg)
    }

    fn decode<'a>(&self, original: &Original<'a>, handover: &Handover<'_>, _: Option<&'a [u8]>) -> Result<Decode<'a>> {
        self.prefill(original, handover).map(Decode::handed)
    }
}
