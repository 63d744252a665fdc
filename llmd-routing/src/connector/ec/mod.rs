//! Encoders: images, sounds and films are encoded before prefill, one request each.

mod items;
mod merge;

use std::borrow::Cow;

use llmd_core::protocol::EC_TRANSFER_PARAMS;
use llmd_core::{Error, ErrorKind, Result};
use serde_json::value::RawValue;

use super::shared_storage::without_threshold;
use super::single_token::{Limits, single_token};
use super::{Api, Leg, Original, REQUEST_ID_HEADER};

/// At most how many items of one request are encoded; a request with more is refused.
pub const MAX_ITEMS: usize = 256;

/// How encoders hand over what they made, as seen in the request: llm-d's `--ec-connector`. A failure of any encoder is the
/// request's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EcConnector {
    /// `ec-example`: through a store, by the items' hashes. What encoders answer is discarded.
    Example,
    /// `ec-nixl`: encoders answer where their results lie, by the items' hashes, and the prefiller is told.
    Nixl,
}

/// What one encoder is sent, as [`Api::ChatCompletions`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncoderRequest<'a> {
    /// Which one, by its place in the list that was given.
    pub encoder: usize,
    /// What it is sent.
    pub leg: Leg<'a>,
}

/// What goes on to prefill and decode after encoders have answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Encoded<'a> {
    /// The request: no decoder is tried before prefill.
    pub original: Original<'a>,
    /// How many encoders have said where their results lie. The prefiller encodes the others' items itself.
    pub contributed: usize,
}

impl EcConnector {
    /// The connector of this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when there is none.
    pub fn by_name(name: &str) -> Result<Self> {
        match name {
            "ec-example" => Ok(Self::Example),
            "ec-nixl" => Ok(Self::Nixl),
            _ => {
                let message = format!("encoder connector `{name}`: expected ec-example or ec-nixl");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// What llm-d calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Example => "ec-example",
            Self::Nixl => "ec-nixl",
        }
    }

    /// What `encoders` encoders are sent: one request per item, in turns. Items behind the same URL are encoded once. Empty
    /// when there is nothing to encode.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is something to encode and no encoder, [`ErrorKind::Exhausted`] when there are
    /// more than [`MAX_ITEMS`].
    pub fn requests<'a>(
        self,
        original: &Original<'a>,
        encoders: usize,
        request_id: &str,
    ) -> Result<Vec<EncoderRequest<'a>>> {
        let items = match original.api() {
            Api::ChatCompletions => items::of(original.body())?,
            _ => Vec::new(),
        };
        if encoders == 0 && !items.is_empty() {
            let message = format!("{} items and no encoder: expected at least one", items.len());
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let request = |(place, item): (usize, &RawValue)| {
            let mut leg = original.as_is();
            leg.body.set("messages", Cow::Owned(alone(item)));
            single_token(&mut leg.body, Api::ChatCompletions, Limits::Said)?;
            let leg = leg.with_header(REQUEST_ID_HEADER, format!("{request_id}-enc-{place}"));
            Ok(EncoderRequest { encoder: place % encoders, leg })
        };
        items.iter().map(AsRef::as_ref).enumerate().map(request).collect()
    }

    /// What goes on once every encoder has answered, with the bodies of their responses.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when a response is no JSON object, or two say different things of the same item.
    pub fn encoded<'a>(self, original: &Original<'a>, responses: &[&'a [u8]]) -> Result<Encoded<'a>> {
        let mut body = original.body().clone();
        without_threshold(&mut body);
        let contributed = match self {
            Self::Example => 0,
            Self::Nixl => {
                let (params, contributed) = merge::merge(responses)?;
                if contributed > 0 {
                    body.set(EC_TRANSFER_PARAMS, Cow::Owned(params.to_raw()));
                }
                contributed
            }
        };
        Ok(Encoded { original: original.encoded(body), contributed })
    }
}

/// Messages with nothing but this item.
fn alone(item: &RawValue) -> Box<RawValue> {
    let messages = format!(r#"[{{"role":"user","content":[{}]}}]"#, item.get());
    RawValue::from_string(messages).expect("an item is JSON")
}
