//! The front of the engines' schemes: by name, over whole prompts, for those who call from other languages.

mod before;
#[cfg(test)]
mod tests;

use std::fmt;

use self::before::Before;
use super::{ExtraKeyForm, HashScheme as _, Namespace, Sglang, VllmAlgorithm, VllmHash};
use crate::{Error, ErrorKind, ExternalBlockHash, Result, TokenId};

/// Names the blocks of a prompt as an engine does.
///
/// ```
/// use llmd_core::hash::{EngineHasher, Namespace};
///
/// let hasher = EngineHasher::new("vllm-sha256_cbor", 4)?.with_seed("0")?;
/// let mut names = Vec::new();
/// assert_eq!(hasher.hash_into(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &Namespace::default(), &mut names)?, 2);
/// assert_eq!(names.len(), 2 * hasher.digest_len());
/// assert_eq!(hasher.event_int(&names[..32])?, 2_164_874_634_404_590_027);
/// # Ok::<(), llmd_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EngineHasher {
    block_size: usize,
    scheme: Scheme,
}

#[derive(Clone, Debug)]
enum Scheme {
    Sglang,
    Vllm {
        algorithm: VllmAlgorithm,
        form: ExtraKeyForm,
        /// The seed that was configured.
        seed: Option<String>,
        /// None where the seed is not known.
        hash: Option<VllmHash>,
    },
}

/// The oldest version of vLLM whose names can be made, and those that changed how they are.
const OLDEST: (u32, u32) = (0, 11);
const WITH_XXHASH: (u32, u32) = (0, 13);
const WITH_OFFSETS: (u32, u32) = (0, 19);
const WITH_DEFAULT_SEED: (u32, u32) = (0, 29);
const WITH_TAGS: (u32, u32) = (0, 31);

impl EngineHasher {
    /// The names of every scheme.
    pub const SCHEMES: [&str; 5] = ["vllm-sha256", "vllm-sha256_cbor", "vllm-xxhash", "vllm-xxhash_cbor", "sglang"];

    /// The hasher of engines with this scheme and `block_size` tokens per block (SGLang: page). vLLM's are named after
    /// their `--prefix-caching-hash-algo`, and taken for those of the newest version, started without `PYTHONHASHSEED`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there is no such scheme, or `block_size` is 0. [`ErrorKind::Unsupported`] for
    /// `llmd`: names that an index makes for itself do not leave it.
    pub fn new(scheme: &str, block_size: usize) -> Result<Self> {
        if block_size == 0 {
            return Err(Error::new(ErrorKind::Invalid, "block size 0 is too small: a block holds at least one token"));
        }
        let scheme = match scheme {
            "sglang" => Scheme::Sglang,
            "llmd" => {
                let message = "scheme llmd cannot be asked for: llmd's own hashes never leave the index, since their \
                               secrecy is what makes them safe";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            _ => {
                let algorithm = scheme.strip_prefix("vllm-").and_then(VllmAlgorithm::from_name);
                let algorithm = algorithm.ok_or_else(|| {
                    let known = Self::SCHEMES.join(", ");
                    Error::new(ErrorKind::Invalid, format!("scheme {scheme:?} is not known: expected one of {known}"))
                })?;
                Scheme::vllm(algorithm, ExtraKeyForm::default(), None, algorithm.has_default_seed())
            }
        };
        Ok(Self { block_size, scheme })
    }

    /// The same, for engines that were started with this `PYTHONHASHSEED`, whatever text it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for SGLang, whose names have no seed.
    pub fn with_seed(self, seed: &str) -> Result<Self> {
        match self.scheme {
            Scheme::Sglang => {
                Err(Error::new(ErrorKind::Invalid, format!("seed {seed:?} has no place: scheme sglang has no seed")))
            }
            Scheme::Vllm { algorithm, form, .. } => {
                Ok(Self { scheme: Scheme::vllm(algorithm, form, Some(seed.to_owned()), false), ..self })
            }
        }
    }

    /// The same, for engines of this version of vLLM, such as `0.30` or `0.31.1`: it decides how adapters, items and
    /// salts enter the hash, and whether there is a seed when none was configured.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is no version, the version has no such algorithm, or the engine is SGLang, whose
    /// scheme is known of one version. [`ErrorKind::Unsupported`] for versions before 0.11, whose names are others.
    pub fn with_engine_version(self, version: &str) -> Result<Self> {
        let invalid = |what: fmt::Arguments<'_>| Error::new(ErrorKind::Invalid, format!("version {version:?} {what}"));
        let Scheme::Vllm { algorithm, seed, .. } = self.scheme else {
            return Err(invalid(format_args!("has no place: scheme sglang is that of 0.5.23")));
        };
        let numbers =
            parse(version).ok_or_else(|| invalid(format_args!("is none: expected numbers such as 0.31.1")))?;
        if numbers < OLDEST {
            let message = format!("version {version:?} is too old: names are known of vLLM 0.11 and later");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if numbers < WITH_XXHASH && !algorithm.has_default_seed() {
            return Err(invalid(format_args!("has no algorithm {algorithm}: expected 0.13 or later")));
        }
        let form = match numbers {
            _ if numbers >= WITH_TAGS => ExtraKeyForm::Tagged,
            _ if numbers >= WITH_OFFSETS => ExtraKeyForm::Untagged,
            _ => ExtraKeyForm::UntaggedWithoutOffset,
        };
        let has_default = algorithm.has_default_seed() && numbers >= WITH_DEFAULT_SEED;
        Ok(Self { scheme: Scheme::vllm(algorithm, form, seed, has_default), ..self })
    }

    /// The name that [`new`](Self::new) takes.
    pub const fn scheme(&self) -> &'static str {
        match self.scheme {
            Scheme::Sglang => "sglang",
            Scheme::Vllm { algorithm: VllmAlgorithm::Sha256, .. } => "vllm-sha256",
            Scheme::Vllm { algorithm: VllmAlgorithm::Sha256Cbor, .. } => "vllm-sha256_cbor",
            Scheme::Vllm { algorithm: VllmAlgorithm::Xxhash, .. } => "vllm-xxhash",
            Scheme::Vllm { algorithm: VllmAlgorithm::XxhashCbor, .. } => "vllm-xxhash_cbor",
        }
    }

    /// Tokens per block.
    pub const fn block_size(&self) -> usize {
        self.block_size
    }

    /// Bytes per name: 32 or 16.
    pub const fn digest_len(&self) -> usize {
        match self.scheme {
            Scheme::Sglang => 32,
            Scheme::Vllm { algorithm, .. } => algorithm.digest_len(),
        }
    }

    /// Appends the names of all full blocks to `out`, first block first and nothing between them; says how many there
    /// are. A rest that fills no block has no name. On an error, `out` is as it was.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the engine draws its seed by chance and [`with_seed`](Self::with_seed) was not
    /// called, or when an adapter's path is not known and enters the hash (vLLM 0.31 and later).
    /// [`ErrorKind::Unsupported`] for adapters and items of SGLang, whose names depend on what only the engine knows.
    pub fn hash_into(&self, tokens: &[TokenId], namespace: &Namespace, out: &mut Vec<u8>) -> Result<usize> {
        let (root, blocks) = (self.root(namespace)?, tokens.len() / self.block_size);
        out.reserve(blocks * self.digest_len());
        root.append(0, self.block_size, tokens, namespace, out);
        Ok(blocks)
    }

    /// The names of all full blocks as events carry them: integers where the engine publishes those (vLLM does, unless it
    /// is told to publish whole hashes), for [`Chain::with_names`](super::Chain::with_names).
    ///
    /// # Errors
    ///
    /// As [`hash_into`](Self::hash_into).
    pub fn event_names(
        &self,
        tokens: &[TokenId],
        namespace: &Namespace,
        are_ints: bool,
    ) -> Result<Vec<ExternalBlockHash>> {
        let mut digests = Vec::new();
        self.hash_into(tokens, namespace, &mut digests)?;
        let name = |digest: &[u8]| match are_ints {
            true => self.event_int(digest).map(ExternalBlockHash::from_int),
            false => Ok(ExternalBlockHash::from_bytes(digest)),
        };
        digests.chunks_exact(self.digest_len()).map(name).collect()
    }

    /// Makes `names` those of `tokens`, whose first `kept` blocks have the names that stand in it first already. On an error,
    /// `names` is as it was.
    pub(super) fn go_on(
        &self,
        tokens: &[TokenId],
        namespace: &Namespace,
        kept: usize,
        names: &mut Vec<u8>,
    ) -> Result<()> {
        let root = self.root(namespace)?;
        names.truncate(kept * self.digest_len());
        let more = &tokens[kept * self.block_size..];
        names.reserve(more.len() / self.block_size * self.digest_len());
        root.last_of(names).append(kept, self.block_size, more, namespace, names);
        Ok(())
    }

    /// What stands before the first name.
    fn root(&self, namespace: &Namespace) -> Result<Before<'_>> {
        match &self.scheme {
            Scheme::Sglang => Ok(Before::Sglang(sglang_seed(namespace)?)),
            Scheme::Vllm { algorithm, form, hash, .. } => {
                let hash = hash.as_ref().ok_or_else(|| seed_missing(*algorithm))?;
                check_adapter(*form, namespace)?;
                Ok(Before::Vllm(hash, hash.root()))
            }
        }
    }

    /// The integer that events say instead of this name, bit for bit: vLLM's the last 8 bytes, SGLang's the first 8,
    /// most significant first. SGLang's events carry it as a signed number.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when `digest` is not of [`digest_len`](Self::digest_len) bytes.
    pub fn event_int(&self, digest: &[u8]) -> Result<u64> {
        if digest.len() != self.digest_len() {
            let (found, expected) = (digest.len(), self.digest_len());
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a name of {found} bytes is none: expected {expected}"),
            ));
        }
        let bytes = match self.scheme {
            Scheme::Sglang => digest.first_chunk(),
            Scheme::Vllm { .. } => digest.last_chunk(),
        };
        Ok(u64::from_be_bytes(*bytes.expect("16 or 32 bytes are 8 and more")))
    }

    /// Whether events carry [`event_int`](Self::event_int) as a signed number of 64 bits.
    pub const fn event_int_is_signed(&self) -> bool {
        matches!(self.scheme, Scheme::Sglang)
    }
}

impl Scheme {
    fn vllm(algorithm: VllmAlgorithm, form: ExtraKeyForm, seed: Option<String>, has_default: bool) -> Self {
        let known = seed.as_deref().or_else(|| has_default.then_some(VllmHash::DEFAULT_SEED));
        let hash = known.map(|seed| VllmHash::new(algorithm, seed, form));
        Self::Vllm { algorithm, form, seed, hash }
    }
}

/// The first two numbers of a version.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn seed_missing(algorithm: VllmAlgorithm) -> Error {
    let message = format!(
        "scheme vllm-{algorithm} needs the engine's PYTHONHASHSEED: without one these engines draw a seed by chance"
    );
    Error::new(ErrorKind::Invalid, message)
}

fn check_adapter(form: ExtraKeyForm, namespace: &Namespace) -> Result<()> {
    match &namespace.lora {
        Some(lora) if form == ExtraKeyForm::Tagged && lora.path.is_none() => {
            let message =
                format!("adapter {:?} needs its path, as the engine loaded it: it enters the hash", lora.name);
            Err(Error::new(ErrorKind::Invalid, message))
        }
        _ => Ok(()),
    }
}

fn sglang_seed(namespace: &Namespace) -> Result<Option<[u8; 32]>> {
    if let Some(lora) = &namespace.lora {
        let message = format!("adapter {:?} cannot be hashed: sglang does so by an id that it draws itself", lora.name);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if let [item, ..] = &namespace.multimodal[..] {
        let message =
            format!("item {:?} cannot be hashed: sglang puts tokens of its own in its place", item.identifier);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(Sglang::event_seed(namespace.cache_salt.as_deref().filter(|salt| !salt.is_empty())))
}
