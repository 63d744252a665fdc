//! Words that routing and KV transfer share: roles, and the fields by which engines hand over KV.

use std::fmt;

/// The request and response field by which engines hand over KV. A gateway removes it from what clients send: a client
/// that could set it could name another tenant's blocks.
pub const KV_TRANSFER_PARAMS: &str = "kv_transfer_params";

/// As [`KV_TRANSFER_PARAMS`], for what encoders hand over.
pub const EC_TRANSFER_PARAMS: &str = "ec_transfer_params";

/// In [`KV_TRANSFER_PARAMS`], to a prefiller: keep what you compute, another will fetch it.
pub const DO_REMOTE_DECODE: &str = "do_remote_decode";

/// In [`KV_TRANSFER_PARAMS`], to a decoder: fetch what another has computed.
pub const DO_REMOTE_PREFILL: &str = "do_remote_prefill";

/// In [`KV_TRANSFER_PARAMS`]: which connector the others are of.
pub const CONNECTOR: &str = "connector";

/// What stands in [`CONNECTOR`] when KV is handed over by llmd.
pub const LLMD: &str = "llmd";

/// In [`KV_TRANSFER_PARAMS`] of llmd: what lets the decoder read the prefiller's blocks. Only they can read it.
pub const GRANT: &str = "grant";

/// In [`KV_TRANSFER_PARAMS`]: how many tokens of the prompt the prefiller holds.
pub const REMOTE_NUM_TOKENS: &str = "remote_num_tokens";

/// The label that says what an endpoint does, as llm-d spells it.
pub const ROLE_LABEL: &str = "llm-d.ai/role";

/// What an endpoint does, as its [`ROLE_LABEL`] says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// Decodes.
    Decode,
    /// Encodes multimodal items.
    Encode,
    /// Encodes and prefills.
    EncodePrefill,
    /// Encodes, prefills and decodes.
    EncodePrefillDecode,
    /// Prefills.
    Prefill,
    /// Prefills and decodes; `both` is an older word for it.
    PrefillDecode,
}

impl Role {
    /// The role that llm-d means by `label`. `None` when it never says so.
    pub fn from_label(label: &str) -> Option<Self> {
        match label {
            "both" | "prefill-decode" => Some(Self::PrefillDecode),
            "decode" => Some(Self::Decode),
            "encode" => Some(Self::Encode),
            "encode-prefill" => Some(Self::EncodePrefill),
            "encode-prefill-decode" => Some(Self::EncodePrefillDecode),
            "prefill" => Some(Self::Prefill),
            _ => None,
        }
    }

    /// Whether it decodes.
    pub const fn decodes(self) -> bool {
        matches!(self, Self::Decode | Self::EncodePrefillDecode | Self::PrefillDecode)
    }

    /// Whether it encodes.
    pub const fn encodes(self) -> bool {
        matches!(self, Self::Encode | Self::EncodePrefill | Self::EncodePrefillDecode)
    }

    /// Whether it prefills.
    pub const fn prefills(self) -> bool {
        matches!(self, Self::EncodePrefill | Self::EncodePrefillDecode | Self::Prefill | Self::PrefillDecode)
    }
}

/// As in a label.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::EncodePrefill => "encode-prefill",
            Self::EncodePrefillDecode => "encode-prefill-decode",
            Self::Prefill => "prefill",
            Self::PrefillDecode => "prefill-decode",
        })
    }
}
