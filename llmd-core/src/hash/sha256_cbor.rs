//! vLLM's `sha256_cbor`: SHA-256 over canonical CBOR, bit for bit.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::encode::{Error, Write};
use sha2::{Digest as _, Sha256};

use super::{ExtraKey, HashScheme};
use crate::TokenId;

/// The names that vLLM gives to blocks under `--prefix-caching-hash-algo sha256_cbor`.
///
/// A name is the SHA-256 of the CBOR of `[name before, [token, …], extra keys or null]`, and the name before the first
/// block that of the seed's. Tokens, lengths and offsets take their shortest form, and every length is definite.
///
/// ```
/// use llmd_core::hash::{ExtraKeyForm, HashScheme, Namespace, Sha256Cbor, chain};
///
/// // An engine of vLLM 0.32 with `PYTHONHASHSEED=0`.
/// let scheme = Sha256Cbor::new("0", ExtraKeyForm::Tagged);
/// let names = chain(&scheme, 4, &[1, 2, 3, 4, 5, 6, 7, 8, 9], &Namespace::default());
///
/// assert_eq!(names.len(), 2);
/// assert_eq!(Sha256Cbor::event_int(&scheme.root()), 17_921_330_210_090_130_494);
/// ```
#[derive(Clone, Debug)]
pub struct Sha256Cbor {
    root: [u8; 32],
    form: ExtraKeyForm,
}

/// How a version of vLLM writes extra keys into what it hashes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ExtraKeyForm {
    /// From 0.31: `["lora", name, path]`, `["mm", identifier, offset]`, `["cache_salt", salt]`,
    /// `["prompt_embeds", digest]`.
    #[default]
    Tagged,
    /// From 0.19 to 0.30: `name`, `[identifier, offset]`, `salt`, `digest`.
    Untagged,
    /// From 0.11 to 0.18: the same, but `identifier` without its offset.
    UntaggedWithoutOffset,
}

impl Sha256Cbor {
    /// The seed of engines that were started without `PYTHONHASHSEED`, since vLLM 0.29; before, it was random.
    pub const DEFAULT_SEED: &str = "vllm-none-hash";

    /// The names of an engine with this seed: its `PYTHONHASHSEED`, or [`DEFAULT_SEED`](Self::DEFAULT_SEED).
    pub fn new(seed: &str, form: ExtraKeyForm) -> Self {
        let root = digest(|cbor| {
            cbor.str(seed)?;
            Ok(())
        });
        Self { root, form }
    }

    /// The integer that events say instead of the name, unless the engine was told to send bytes: its last 8 bytes,
    /// most significant first.
    pub fn event_int(digest: &[u8; 32]) -> u64 {
        let (_, last) = digest.split_last_chunk().expect("32 bytes end with 8");
        u64::from_be_bytes(*last)
    }
}

/// An engine of the newest version that was started without `PYTHONHASHSEED`.
impl Default for Sha256Cbor {
    fn default() -> Self {
        Self::new(Self::DEFAULT_SEED, ExtraKeyForm::default())
    }
}

impl HashScheme for Sha256Cbor {
    type Digest = [u8; 32];

    fn root(&self) -> [u8; 32] {
        self.root
    }

    fn next(&self, parent: &[u8; 32], _: usize, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> [u8; 32] {
        digest(|cbor| write_block(cbor, self.form, parent, tokens, extra))
    }
}

/// A SHA-256 that takes what an encoder writes.
struct Hasher(Sha256);

impl Write for Hasher {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.update(bytes);
        Ok(())
    }
}

type Written = Result<(), Error<Infallible>>;

fn digest(write: impl FnOnce(&mut Encoder<Hasher>) -> Written) -> [u8; 32] {
    let mut cbor = Encoder::new(Hasher(Sha256::new()));
    write(&mut cbor).expect("a hasher takes every byte");
    cbor.into_writer().0.finalize().into()
}

fn write_block<W: Write<Error = Infallible>>(
    cbor: &mut Encoder<W>,
    form: ExtraKeyForm,
    parent: &[u8; 32],
    tokens: &[TokenId],
    extra: &[ExtraKey<'_>],
) -> Written {
    cbor.array(3)?.bytes(parent)?.array(tokens.len() as u64)?;
    for &token in tokens {
        cbor.u32(token)?;
    }
    if extra.is_empty() {
        cbor.null()?;
        return Ok(());
    }
    cbor.array(extra.len() as u64)?;
    extra.iter().try_for_each(|key| write_extra(cbor, form, key))
}

/// An adapter whose path is not known is written with null for it, as no engine writes one.
fn write_extra<W: Write<Error = Infallible>>(cbor: &mut Encoder<W>, form: ExtraKeyForm, key: &ExtraKey<'_>) -> Written {
    match (form, *key) {
        (ExtraKeyForm::Tagged, ExtraKey::CacheSalt(salt)) => cbor.array(2)?.str("cache_salt")?.str(salt)?,
        (ExtraKeyForm::Tagged, ExtraKey::Lora { name, path: Some(path) }) => {
            cbor.array(3)?.str("lora")?.str(name)?.str(path)?
        }
        (ExtraKeyForm::Tagged, ExtraKey::Lora { name, path: None }) => cbor.array(3)?.str("lora")?.str(name)?.null()?,
        (ExtraKeyForm::Tagged, ExtraKey::Multimodal { identifier, offset }) => {
            cbor.array(3)?.str("mm")?.str(identifier)?.i64(offset)?
        }
        (ExtraKeyForm::Tagged, ExtraKey::PromptEmbeds(digest)) => cbor.array(2)?.str("prompt_embeds")?.bytes(digest)?,

        (ExtraKeyForm::Untagged, ExtraKey::Multimodal { identifier, offset }) => {
            cbor.array(2)?.str(identifier)?.i64(offset)?
        }
        (ExtraKeyForm::UntaggedWithoutOffset, ExtraKey::Multimodal { identifier, .. }) => cbor.str(identifier)?,
        (_, ExtraKey::CacheSalt(text) | ExtraKey::Lora { name: text, .. }) => cbor.str(text)?,
        (_, ExtraKey::PromptEmbeds(digest)) => cbor.bytes(digest)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [ExtraKey<'_>; 4] = [
        ExtraKey::Lora { name: "a", path: Some("/a") },
        ExtraKey::Multimodal { identifier: "m", offset: -300 },
        ExtraKey::CacheSalt("s"),
        ExtraKey::PromptEmbeds(&[0xab]),
    ];

    fn block(form: ExtraKeyForm, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> String {
        let mut cbor = Encoder::new(Vec::new());
        write_block(&mut cbor, form, &[0xee; 32], tokens, extra).unwrap();
        let block = hex::encode(cbor.into_writer());
        block.strip_prefix(&format!("835820{}", "ee".repeat(32))).expect("the parent comes first").into()
    }

    #[test]
    fn a_block_without_keys_ends_with_null() {
        assert_eq!(block(ExtraKeyForm::Tagged, &[], &[]), "80f6");
    }

    #[test]
    fn tokens_take_their_shortest_form() {
        let tokens = [0, 23, 24, 255, 256, 65_535, 65_536, u32::MAX];
        assert_eq!(block(ExtraKeyForm::Tagged, &tokens, &[]), "880017181818ff19010019ffff1a000100001afffffffff6");
    }

    #[test]
    fn keys_carry_tags_since_0_31() {
        let (lora, image) = ("83646c6f7261616162 2f61", "83626d6d616d 39012b");
        let (salt, embeds) = ("826a63616368655f73616c746173", "826d70726f6d70745f656d6265647341ab");
        let expected = format!("80 84{lora}{image}{salt}{embeds}").replace(' ', "");
        assert_eq!(block(ExtraKeyForm::Tagged, &[], &KEYS), expected);
    }

    #[test]
    fn keys_stand_bare_before() {
        assert_eq!(block(ExtraKeyForm::Untagged, &[], &KEYS), "80846161 82616d39012b 617341ab".replace(' ', ""));
        assert_eq!(block(ExtraKeyForm::UntaggedWithoutOffset, &[], &KEYS), "80846161 616d 617341ab".replace(' ', ""));
    }

    #[test]
    fn an_adapter_whose_path_is_not_known_is_nobody_s() {
        let unknown = block(ExtraKeyForm::Tagged, &[], &[ExtraKey::Lora { name: "a", path: None }]);
        assert_eq!(unknown, "808183646c6f72616161f6");
    }

    #[test]
    fn the_seed_makes_the_name_before_the_first_block() {
        let root = |scheme: Sha256Cbor| hex::encode(scheme.root());
        assert_eq!(root(Sha256Cbor::default()), "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0");
        assert_eq!(
            root(Sha256Cbor::new("0", ExtraKeyForm::Tagged)),
            "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e"
        );
    }

    #[test]
    fn events_say_the_last_8_bytes() {
        let mut name = [0; 32];
        name[24..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Sha256Cbor::event_int(&name), 0x0102_0304_0506_0708);
    }
}
