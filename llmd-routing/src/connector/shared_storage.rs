//! `shared-storage`: the engines find each other's blocks in a store, and hand over nothing.

use llmd_core::Result;
use serde_json::value::RawValue;

use super::body::Body;
use super::single_token::{Limits, single_token};
use super::{Connector, Decode, Handover, Leg, Order, Original};

const CACHE_HIT_THRESHOLD: &str = "cache_hit_threshold";

/// A store that both engines read and write: prefill fills it, decode finds it full. A client that says from which share of
/// cached tokens on the decoder may compute the rest itself, in `cache_hit_threshold`, has decode tried first.
///
/// Rules: llm-d's `shared-storage`, with prefill asked for its response at once, whatever the client asks: an error in a stream
/// would go unseen.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SharedStorage;

impl Connector for SharedStorage {
    fn name(&self) -> &'static str {
        "shared-storage"
    }

    fn order(&self, original: &Original<'_>) -> Order {
        let may_decode_first = original.body().get(CACHE_HIT_THRESHOLD).is_some() && !original.is_encoded();
        if may_decode_first { Order::DecodeFirst } else { Order::Sequential }
    }

    fn prefill<'a>(&self, original: &Original<'a>, _: &Handover<'_>) -> Result<Leg<'a>> {
        let mut leg = original.as_is();
        single_token(&mut leg.body, original.api(), Limits::All)?;
        without_threshold(&mut leg.body);
        Ok(leg)
    }

    fn decode<'a>(&self, original: &Original<'a>, _: &Handover<'_>, _: Option<&'a [u8]>) -> Result<Decode<'a>> {
        let mut leg = original.as_is();
        without_threshold(&mut leg.body);
        Ok(Decode::handed(leg))
    }
}

/// Has the engine compute whatever it does not hold.
pub(super) fn without_threshold(body: &mut Body<'_>) {
    body.put(CACHE_HIT_THRESHOLD, 0);
}

/// Whether a decoder that was tried first holds too little of the prompt: its response, or the first piece of one that
/// streams, finishes with `cache_threshold`. Otherwise the response is the client's.
pub fn below_threshold(response: &[u8]) -> bool {
    let events = response.split(|&byte| byte == b'\n').filter_map(|line| line.trim_ascii().strip_prefix(b"data:"));
    finished_below(response) || events.into_iter().any(finished_below)
}

fn finished_below(json: &[u8]) -> bool {
    let Ok(response) = serde_json::from_slice::<Body<'_>>(json) else { return false };
    let choices = response.get("choices").and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
    let first = choices.and_then(|choices| Body::of(choices.first()?));
    first.and_then(|choice| choice.text("finish_reason")).is_some_and(|reason| reason == "cache_threshold")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_says_that_it_holds_too_little() {
        let table = [
            (r#"{"choices": [{"finish_reason": "cache_threshold"}]}"#, true),
            ("data: {\"choices\": [{\"finish_reason\": \"cache_threshold\"}]}\r\n\r\ndata: [DONE]\n\n", true),
            (
                ": hello\n\ndata: {\"choices\":[]}\n\ndata: {\"choices\":[{\"finish_reason\":\"cache_threshold\"}]}",
                true,
            ),
            (r#"{"choices": [{"finish_reason": "length"}, {"finish_reason": "cache_threshold"}]}"#, false),
            (r#"{"choices": {"finish_reason": "cache_threshold"}}"#, false),
            ("data: {\"choices\": [{\"finish_reason\": null}]}\n\n", false),
            ("", false),
        ];
        for (response, below) in table {
            assert_eq!(below_threshold(response.as_bytes()), below, "{response}");
        }
    }
}
