//! SGLang's names for pages, bit for bit.

use sha2::{Digest as _, Sha256};

use crate::TokenId;

/// The names that SGLang gives to pages, its word for blocks.
///
/// A name is the SHA-256 of the name before and the page's tokens, 4 bytes each, least significant first. Before the
/// first page stands nothing, or a seed that says whose page it is: events and the hierarchical cache have one each.
/// Written after 0.5.23; there is no seed to be configured, so all engines agree.
///
/// Images are not hashed as such: SGLang puts numbers made from their content in the place of their tokens.
///
/// ```
/// use llmd_core::hash::Sglang;
///
/// let tokens = [1, 2, 3, 4, 5, 6, 7, 8];
/// let names = |seed: Option<[u8; 32]>| Sglang::chain(seed, 4, &tokens).map(|name| Sglang::event_int(&name));
///
/// let shared: Vec<u64> = names(Sglang::event_seed(None)).collect();
/// let salted: Vec<u64> = names(Sglang::event_seed(Some("tenant-7"))).collect();
/// assert_eq!((shared.len(), salted.len()), (2, 2));
/// assert_ne!(shared[0], salted[0]);
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the scheme has nothing to be configured")]
pub struct Sglang;

impl Sglang {
    /// What stands before the first page in the names of events: something where the request has a salt.
    pub fn event_seed(cache_salt: Option<&str>) -> Option<[u8; 32]> {
        let seed = |salt: &str| Sha256::new().chain_update(b"sglang-cache-salt-v1\0").chain_update(salt).finalize();
        cache_salt.map(|salt| seed(salt).into())
    }

    /// What stands before the first page in the keys of the hierarchical cache: something where the request has an
    /// `extra_key` or a salt. `extra_key` is the request's own, behind which SGLang writes the id that it drew for the
    /// adapter, if there is one.
    pub fn storage_seed(extra_key: Option<&str>, cache_salt: Option<&str>) -> Option<[u8; 32]> {
        namespace(b"sglang-cache-namespace-v1", extra_key, cache_salt)
    }

    /// The names of all full pages, first page first. A rest that fills no page has none, and nor has anything when
    /// `page_size` is 0.
    pub fn chain(seed: Option<[u8; 32]>, page_size: usize, tokens: &[TokenId]) -> impl Iterator<Item = [u8; 32]> {
        let mut before = seed;
        let pages = if page_size == 0 { &[] } else { tokens };
        pages.chunks_exact(page_size.max(1)).map(move |page| {
            let name = next(before.as_ref(), page);
            before = Some(name);
            name
        })
    }

    /// The integer that events say instead of the name: its first 8 bytes, most significant first. Events carry it as a
    /// signed number of the same bits.
    pub fn event_int(name: &[u8; 32]) -> u64 {
        let (first, _) = name.split_first_chunk().expect("32 bytes begin with 8");
        u64::from_be_bytes(*first)
    }

    /// The integer that events say instead of [`event_int`](Self::event_int) where names are kept apart once more: for
    /// the pages of an adapter, by its `extra_key` alone, and in the format `dynamo` for all, by `extra_key` and salt.
    pub fn namespaced_int(event_int: u64, extra_key: Option<&str>, cache_salt: Option<&str>) -> u64 {
        let Some(seed) = namespace(b"sglang-kv-event-namespace-v1", extra_key, cache_salt) else { return event_int };
        Self::event_int(&Sha256::new().chain_update(seed).chain_update(event_int.to_be_bytes()).finalize().into())
    }
}

fn next(before: Option<&[u8; 32]>, page: &[TokenId]) -> [u8; 32] {
    let mut input = smallvec::SmallVec::<[u8; 512]>::new();
    input.extend_from_slice(before.map_or(&[], |name| name));
    input.extend(page.iter().flat_map(|token| token.to_le_bytes()));
    Sha256::digest(&input).into()
}

/// The two parts, each with whether it is there and how long it is: no two pairs are written alike.
fn namespace(tag: &[u8], extra_key: Option<&str>, cache_salt: Option<&str>) -> Option<[u8; 32]> {
    extra_key.or(cache_salt)?;
    let mut hash = Sha256::new().chain_update(tag);
    for part in [extra_key, cache_salt] {
        match part {
            None => hash.update([0]),
            Some(part) => {
                hash.update([1]);
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
    }
    Some(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_that_fills_no_page_has_no_name() {
        assert_eq!(Sglang::chain(None, 4, &[7; 11]).count(), 2);
        assert_eq!(Sglang::chain(None, 0, &[7; 11]).count(), 0);
    }

    #[test]
    fn an_empty_part_is_not_one_that_is_absent() {
        assert_eq!(Sglang::storage_seed(None, None), None);
        assert_ne!(Sglang::storage_seed(Some(""), None), Sglang::storage_seed(None, Some("")));
        assert_ne!(Sglang::storage_seed(Some("a"), Some("bc")), Sglang::storage_seed(Some("ab"), Some("c")));
    }

    /// The values that SGLang's own test holds fast.
    #[test]
    fn names_that_are_kept_apart_are_sglang_s() {
        assert_eq!(Sglang::namespaced_int(123, Some("lora-a"), None).cast_signed(), 9_220_659_119_954_863_560);
        let negative = (-5_i64).cast_unsigned();
        assert_eq!(Sglang::namespaced_int(negative, Some("lora-a"), None).cast_signed(), -1_810_974_732_006_142_875);
        assert_eq!(Sglang::namespaced_int(123, None, None), 123);
    }
}
