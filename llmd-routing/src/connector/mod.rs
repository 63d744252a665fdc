//! How two engines hand over KV, as seen in the request: one file per connector of llm-d's, as functions from body to body.
//!
//! A request that one engine prefills and another decodes goes out twice, with two bodies. A [`Connector`] makes both of
//! what the client sent, and says in which [`Order`] they go. Whatever is drawn, or comes from elsewhere, stands in a
//! [`Handover`]; sending, waiting and retrying are the caller's:
//!
//! ```
//! use llmd_routing::connector::{Api, ClientParams, Handover, Kv, Order, Original, by_name};
//!
//! let connector = by_name("nixlv2")?;
//! let body = br#"{"model":"m","messages":[],"stream":true,"max_tokens":64,"kv_transfer_params":{"remote_host":"theirs"}}"#;
//! let original = Original::parse(Api::ChatCompletions, body, ClientParams::Removed)?;
//! let handover = Handover::new("0190b2d4-8f1e-11ef-9a3c-0242ac120002", "10.0.0.1:8000");
//! assert_eq!(connector.order(&original), Order::Sequential);
//!
//! let prefill = connector.prefill(&original, &handover)?;
//! assert!(prefill.body.to_json().contains(r#""stream":false,"max_tokens":1,"kv_transfer_params":{"do_remote_decode":true"#));
//!
//! let response = br#"{"usage":{},"kv_transfer_params":{"remote_host":"10.0.0.1","remote_block_ids":[[4, 5]]}}"#;
//! let decode = connector.decode(&original, &handover, Some(response))?;
//! assert_eq!(
//!     decode.leg.body.to_json(),
//!     r#"{"model":"m","messages":[],"stream":true,"max_tokens":64,"kv_transfer_params":{"remote_host":"10.0.0.1","remote_block_ids":[[4, 5]]}}"#
//! );
//! assert_eq!(decode.kv, Kv::Handed);
//! assert_eq!(decode.cached_tokens, Some(0));       // what the client is told of the prefiller's cache
//! # Ok::<(), llmd_core::Error>(())
//! ```
//!
//! - What a connector does not name stays as it was written, to the byte: a [`Body`] takes nothing apart that nobody asks for.
//! - What a client must not set is removed when an [`Original`] is read.
//! - [`CachedTokens`] puts the prefiller's cache hits into the decoder's response.
//! - [`EcConnector`] asks encoders first, one request per image, sound or film.
//! - `docs/wire/connectors.md` has the fields of every connector, llmd's own among them.

mod address;
mod answer;
mod api;
mod body;
mod coordinator;
mod ec;
mod fault;
mod handover;
mod llmd;
mod mooncake;
mod moriio;
mod nixlv2;
mod offloading;
mod original;
mod p2p;
mod sglang;
mod shared_storage;
mod single_token;
mod stage;
mod usage;

use std::fmt::Debug;

use llmd_core::{Error, ErrorKind, Result};

pub use api::Api;
pub use body::Body;
pub use coordinator::{KvNixl, KvSgLang, KvSharedStorage};
pub use ec::{EcConnector, Encoded, EncoderRequest, MAX_ITEMS};
pub use handover::{Handover, KvSource};
pub use llmd::{Llmd, MAX_GRANT};
pub use mooncake::{Engine, Engines, Mooncake};
pub use moriio::{Dispatch, MoriIo, MoriIoSide};
pub use nixlv2::NixlV2;
pub use offloading::Offloading;
pub use original::{ClientParams, Original};
pub use p2p::P2p;
pub use sglang::SgLang;
pub use shared_storage::{SharedStorage, below_threshold};
pub use single_token::{Limits, single_token};
pub use stage::{Decode, Kv, Leg, Order, PrefillResponse};
pub use usage::{CachedTokens, CachedTokensStream, MAX_LINE};

const REQUEST_ID_HEADER: &str = "x-request-id";
const RANK_HEADER: &str = "x-data-parallel-rank";

/// A way in which two engines hand over KV, as seen in the request.
///
/// An implementation is correct when `testing::connector` says so.
pub trait Connector: Debug + Send + Sync {
    /// What llm-d calls it.
    fn name(&self) -> &'static str;

    /// In which order the stages of this request run.
    fn order(&self, original: &Original<'_>) -> Order {
        let _ = original;
        Order::Sequential
    }

    /// What the response of prefill is for.
    fn prefill_response(&self) -> PrefillResponse {
        PrefillResponse::Discarded
    }

    /// What the prefiller's machine is asked before, as an URL, whose answer [`Engines::parse`] reads; `None` when nothing.
    fn bootstrap_url(&self, prefiller: &str) -> Option<String> {
        let _ = prefiller;
        None
    }

    /// What the decoder is sent when it may do without prefill: see [`Order::DecodeFirst`].
    fn attempt<'a>(&self, original: &Original<'a>) -> Leg<'a> {
        original.as_is()
    }

    /// What the only engine at `endpoint` is sent when nobody prefills for it.
    fn alone<'a>(&self, original: &Original<'a>, endpoint: &str, source: Option<KvSource<'_>>) -> Leg<'a> {
        let _ = (endpoint, source);
        original.as_is()
    }

    /// What the prefiller is sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a field of the body that must change has the wrong type, or the handover lacks what this
    /// connector needs.
    fn prefill<'a>(&self, original: &Original<'a>, handover: &Handover<'_>) -> Result<Leg<'a>>;

    /// What the decoder is sent. `response` is the body of prefill's response; `None` when it is not there yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when the response is not what a prefiller answers, and [`ErrorKind::Invalid`] when it is not
    /// there and this connector needs it, or the handover lacks something.
    fn decode<'a>(
        &self,
        original: &Original<'a>,
        handover: &Handover<'_>,
        response: Option<&'a [u8]>,
    ) -> Result<Decode<'a>>;
}

/// What [`by_name`] knows: llm-d's `--kv-connector`, its coordinator's, and our own.
pub const NAMES: [&str; 9] = [
    "kv-nixl",
    "kv-sglang",
    "kv-shared-storage",
    "llmd",
    "mooncake",
    "nixlv2",
    "offloading",
    "sglang",
    "shared-storage",
];

/// The connector of this name, with its defaults.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] when there is none.
pub fn by_name(name: &str) -> Result<Box<dyn Connector>> {
    Ok(match name {
        "kv-nixl" => Box::new(KvNixl),
        "kv-sglang" => Box::<KvSgLang>::default(),
        "kv-shared-storage" => Box::new(KvSharedStorage),
        "llmd" => Box::new(Llmd),
        "mooncake" => Box::<Mooncake>::default(),
        "nixlv2" => Box::<NixlV2>::default(),
        "offloading" => Box::<Offloading>::default(),
        "sglang" => Box::<SgLang>::default(),
        "shared-storage" => Box::new(SharedStorage),
        _ => {
            let message = format!("connector `{name}`: expected one of {}", NAMES.join(", "));
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}
