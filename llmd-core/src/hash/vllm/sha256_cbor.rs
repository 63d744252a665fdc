//! vLLM's `sha256_cbor`, with names of a type that says their length.

use sha2::{Digest as _, Sha256};

use super::cbor::Cbor;
use super::form::{Encode as _, write_block};
use super::{ExtraKeyForm, Input, VllmHash};
use crate::TokenId;
use crate::hash::{ExtraKey, HashScheme};

/// The names that vLLM gives to blocks under `--prefix-caching-hash-algo sha256_cbor`, as arrays: what a
/// [`VllmHash`] of [`VllmAlgorithm::Sha256Cbor`](super::VllmAlgorithm::Sha256Cbor) makes, where the algorithm is known
/// beforehand.
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

impl Sha256Cbor {
    /// The seed of engines that were started without `PYTHONHASHSEED`, since vLLM 0.29; before, it was random.
    pub const DEFAULT_SEED: &str = VllmHash::DEFAULT_SEED;

    /// The names of an engine with this seed: its `PYTHONHASHSEED`, or [`DEFAULT_SEED`](Self::DEFAULT_SEED).
    pub fn new(seed: &str, form: ExtraKeyForm) -> Self {
        let mut input = Input::new();
        Cbor::begin(&mut input).text(seed);
        Self { root: Sha256::digest(&input).into(), form }
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
        let mut input = Input::new();
        write_block(&mut Cbor::begin(&mut input), self.form, parent, tokens, extra);
        Sha256::digest(&input).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::VllmAlgorithm;

    #[test]
    fn names_are_those_of_the_algorithm_in_general() {
        let (typed, general) =
            (Sha256Cbor::default(), VllmHash::new(VllmAlgorithm::Sha256Cbor, "vllm-none-hash", ExtraKeyForm::Tagged));
        assert_eq!(typed.root(), general.root().as_bytes());
        let keys = [ExtraKey::CacheSalt("tenant-7")];
        let names = (typed.next(&typed.root(), 0, &[7, 8], &keys), general.next(&general.root(), 0, &[7, 8], &keys));
        assert_eq!(names.0, names.1.as_bytes());
        assert_eq!(Sha256Cbor::event_int(&names.0), names.1.event_int());
    }
}
