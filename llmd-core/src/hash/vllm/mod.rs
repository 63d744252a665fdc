//! vLLM's names for blocks, bit for bit, under each of its `--prefix-caching-hash-algo`.

mod cbor;
mod digest;
mod form;
mod pickle;
mod sha256_cbor;

use std::fmt;

use smallvec::SmallVec;

use self::cbor::Cbor;
pub use self::digest::VllmDigest;
pub use self::form::ExtraKeyForm;
use self::form::{Encode, write_block};
use self::pickle::Pickle;
pub use self::sha256_cbor::Sha256Cbor;
use super::{ExtraKey, HashScheme};
use crate::TokenId;

/// What a vLLM engine hashes blocks with: a function over an encoding.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum VllmAlgorithm {
    /// `sha256`, the engine's default: SHA-256 over Python's pickle, protocol 5.
    Sha256,
    /// `sha256_cbor`: SHA-256 over canonical CBOR.
    Sha256Cbor,
    /// `xxhash`: XXH3-128 over Python's pickle, protocol 5. Since 0.13.
    Xxhash,
    /// `xxhash_cbor`: XXH3-128 over canonical CBOR. Since 0.13.
    XxhashCbor,
}

impl VllmAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Sha256, Self::Sha256Cbor, Self::Xxhash, Self::XxhashCbor];

    /// The algorithm that `--prefix-caching-hash-algo` means by `name`. `None` when nobody says so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// The name that `--prefix-caching-hash-algo` gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha256Cbor => "sha256_cbor",
            Self::Xxhash => "xxhash",
            Self::XxhashCbor => "xxhash_cbor",
        }
    }

    /// Bytes in a name: 32 or 16.
    pub const fn digest_len(self) -> usize {
        if self.is_sha256() { 32 } else { 16 }
    }

    /// Whether an engine of vLLM 0.29 or later that was started without `PYTHONHASHSEED` takes
    /// [`DEFAULT_SEED`](VllmHash::DEFAULT_SEED) for it. Under the other algorithms it draws a seed by chance.
    pub const fn has_default_seed(self) -> bool {
        self.is_sha256()
    }

    const fn is_sha256(self) -> bool {
        matches!(self, Self::Sha256 | Self::Sha256Cbor)
    }
}

/// As `--prefix-caching-hash-algo` takes it.
impl fmt::Display for VllmAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names that one vLLM engine gives to blocks.
///
/// A name is the digest of `(name before, (token, …), extra keys or None)`, and the name before the first block that of
/// the engine's seed.
///
/// ```
/// use llmd_core::hash::{ExtraKeyForm, HashScheme as _, VllmAlgorithm, VllmHash};
///
/// // An engine of vLLM 0.32 that was started with `PYTHONHASHSEED=0`.
/// let scheme = VllmHash::new(VllmAlgorithm::Sha256, "0", ExtraKeyForm::Tagged);
/// let first = scheme.next(&scheme.root(), 0, &[1, 2, 3, 4], &[]);
/// assert_eq!(first.event_int(), 10_362_225_831_949_560_093);
/// ```
#[derive(Clone, Debug)]
pub struct VllmHash {
    algorithm: VllmAlgorithm,
    form: ExtraKeyForm,
    root: VllmDigest,
}

impl VllmHash {
    /// The seed of engines of vLLM 0.29 and later that were started without `PYTHONHASHSEED`, where
    /// [`VllmAlgorithm::has_default_seed`].
    pub const DEFAULT_SEED: &str = "vllm-none-hash";

    /// The names of an engine with this seed: its `PYTHONHASHSEED`, or [`DEFAULT_SEED`](Self::DEFAULT_SEED).
    pub fn new(algorithm: VllmAlgorithm, seed: &str, form: ExtraKeyForm) -> Self {
        let mut input = Input::new();
        match algorithm {
            VllmAlgorithm::Sha256 | VllmAlgorithm::Xxhash => {
                let mut pickle = Pickle::begin(&mut input);
                pickle.text(seed);
                pickle.end();
            }
            VllmAlgorithm::Sha256Cbor | VllmAlgorithm::XxhashCbor => Cbor::begin(&mut input).text(seed),
        }
        Self { algorithm, form, root: VllmDigest::of(algorithm, &input) }
    }

    /// What the engine hashes with.
    pub const fn algorithm(&self) -> VllmAlgorithm {
        self.algorithm
    }
}

impl HashScheme for VllmHash {
    type Digest = VllmDigest;

    fn root(&self) -> VllmDigest {
        self.root
    }

    fn next(&self, parent: &VllmDigest, _: usize, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> VllmDigest {
        let mut input = Input::new();
        match self.algorithm {
            VllmAlgorithm::Sha256 | VllmAlgorithm::Xxhash => {
                let mut pickle = Pickle::begin(&mut input);
                write_block(&mut pickle, self.form, parent.as_bytes(), tokens, extra);
                pickle.end();
            }
            VllmAlgorithm::Sha256Cbor | VllmAlgorithm::XxhashCbor => {
                write_block(&mut Cbor::begin(&mut input), self.form, parent.as_bytes(), tokens, extra);
            }
        }
        VllmDigest::of(self.algorithm, &input)
    }
}

/// What is hashed: on the stack for blocks of the usual sizes.
type Input = SmallVec<[u8; 512]>;

#[cfg(test)]
mod tests {
    use super::*;

    fn root(algorithm: VllmAlgorithm, seed: &str) -> String {
        hex::encode(VllmHash::new(algorithm, seed, ExtraKeyForm::Tagged).root().as_bytes())
    }

    #[test]
    fn the_seed_makes_the_name_before_the_first_block() {
        let default = root(VllmAlgorithm::Sha256, VllmHash::DEFAULT_SEED);
        assert_eq!(default, "066b1e8987e027138e98701c46128929378935f9b6cd1549105ae6b4f0d71198");
        assert_eq!(
            root(VllmAlgorithm::Sha256Cbor, "0"),
            "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e"
        );
        assert_eq!(root(VllmAlgorithm::Xxhash, "0"), "6fb31cc38bba6066183f7f2104b9c051");
        assert_eq!(root(VllmAlgorithm::XxhashCbor, "0"), "1ebe36576dcb573f26b99533a20aaeca");
    }

    #[test]
    fn an_algorithm_has_the_engine_s_name_and_no_other() {
        for algorithm in VllmAlgorithm::ALL {
            assert_eq!(VllmAlgorithm::from_name(&algorithm.to_string()), Some(algorithm));
        }
        assert_eq!(VllmAlgorithm::from_name("builtin"), None);
    }

    #[test]
    fn a_name_is_as_long_as_the_algorithm_says() {
        for algorithm in VllmAlgorithm::ALL {
            let scheme = VllmHash::new(algorithm, "0", ExtraKeyForm::Tagged);
            let name = scheme.next(&scheme.root(), 0, &[1], &[]);
            assert_eq!(
                (name.as_bytes().len(), scheme.root().as_bytes().len()),
                (algorithm.digest_len(), name.as_bytes().len())
            );
        }
    }
}
