//! What holds for every scheme, and what holds for chains.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

const SIZE: usize = 4;

/// An [`ExtraKey`] that owns its texts; an adapter without its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum OwnedKey {
    CacheSalt(String),
    Lora { name: String },
    Multimodal { identifier: String, offset: i64 },
    PromptEmbeds(Vec<u8>),
}

pub(super) fn owned_keys() -> impl Strategy<Value = Vec<OwnedKey>> {
    let text = || any::<String>();
    let key = prop_oneof![
        text().prop_map(OwnedKey::CacheSalt),
        text().prop_map(|name| OwnedKey::Lora { name }),
        (text(), any::<i64>()).prop_map(|(identifier, offset)| OwnedKey::Multimodal { identifier, offset }),
        vec(any::<u8>(), 0..40).prop_map(OwnedKey::PromptEmbeds),
    ];
    vec(key, 0..4)
}

impl OwnedKey {
    fn borrow(&self) -> ExtraKey<'_> {
        match self {
            Self::CacheSalt(salt) => ExtraKey::CacheSalt(salt),
            Self::Lora { name } => ExtraKey::Lora { name, path: None },
            Self::Multimodal { identifier, offset } => ExtraKey::Multimodal { identifier, offset: *offset },
            Self::PromptEmbeds(digest) => ExtraKey::PromptEmbeds(digest),
        }
    }
}

pub(super) fn borrowed(keys: &[OwnedKey]) -> Vec<ExtraKey<'_>> {
    keys.iter().map(OwnedKey::borrow).collect()
}

fn namespaces() -> impl Strategy<Value = Namespace> {
    let lora = proptest::option::of("[a-c]").prop_map(|name| name.map(Lora::new));
    let salt = proptest::option::of("[a-c]{0,1}");
    let item = ("[a-c]", 0..40_usize, 0..12_usize).prop_map(|(identifier, offset, len)| MultimodalItem {
        identifier,
        offset,
        len,
    });
    (lora, salt, vec(item, 0..3)).prop_map(|(lora, cache_salt, items)| {
        Namespace { lora, cache_salt, ..Namespace::default() }.with_multimodal(items)
    })
}

fn keyed() -> AdditiveDigest {
    AdditiveDigest::new(HashKey::from_bytes([9; 32]), SIZE)
}

fn vllm() -> [VllmHash; 4] {
    VllmAlgorithm::ALL.map(|algorithm| VllmHash::new(algorithm, "0", ExtraKeyForm::Tagged))
}

/// The chain of a prompt's beginning is the beginning of its chain.
fn prefixes_agree<S: HashScheme>(scheme: &S, tokens: &[TokenId], namespace: &Namespace) {
    let whole = chain(scheme, SIZE, tokens, namespace);
    assert_eq!(whole.len(), tokens.len() / SIZE);
    for len in 0..=tokens.len() {
        assert_eq!(chain(scheme, SIZE, &tokens[..len], namespace), whole[..len / SIZE]);
    }
}

/// Another token changes the name of its block and of every block after it, and of none before.
fn a_token_changes_what_follows<S: HashScheme>(scheme: &S, tokens: &[TokenId], place: usize, namespace: &Namespace) {
    let mut changed = tokens.to_vec();
    changed[place] ^= 1;
    let (before, after) = (chain(scheme, SIZE, tokens, namespace), chain(scheme, SIZE, &changed, namespace));
    for (block, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, block < place / SIZE, "block {block}, token {place}");
    }
}

/// Blocks that differ in anything have different names.
fn differences_show<S: HashScheme>(scheme: &S, one: &[OwnedKey], other: &[OwnedKey]) {
    let name = |keys| scheme.next(&scheme.root(), 0, &[1, 2], &borrowed(keys));
    assert_eq!(name(one) == name(other), one == other);
}

proptest! {
    #[test]
    fn the_chain_of_a_prefix_is_a_prefix_of_the_chain(
        tokens in vec(any::<TokenId>(), 0..40),
        namespace in namespaces(),
    ) {
        prefixes_agree(&keyed(), &tokens, &namespace);
        vllm().iter().for_each(|scheme| prefixes_agree(scheme, &tokens, &namespace));
    }

    #[test]
    fn a_token_changes_the_names_from_its_block_on(
        tokens in vec(any::<TokenId>(), 1..40),
        place: prop::sample::Index,
        namespace in namespaces(),
    ) {
        let place = place.index(tokens.len());
        a_token_changes_what_follows(&keyed(), &tokens, place, &namespace);
        vllm().iter().for_each(|scheme| a_token_changes_what_follows(scheme, &tokens, place, &namespace));
    }

    #[test]
    fn other_keys_give_another_name(one in owned_keys(), other in owned_keys()) {
        differences_show(&keyed(), &one, &other);
        vllm().iter().for_each(|scheme| differences_show(scheme, &one, &other));
    }
}

proptest! {
    /// Fed bit by bit, a prompt has the names that its blocks have one by one.
    #[test]
    fn a_chain_goes_on_as_its_blocks_do(
        tokens in vec(any::<TokenId>(), 0..60),
        cuts in vec(0..20_usize, 0..8),
        namespace in namespaces(),
        size in 1..8_usize,
    ) {
        let hasher = BlockHasher::new(HashKey::from_bytes([9; 32]), size);
        let expected = chain(hasher.scheme(), size, &tokens, &namespace);
        let whole = hasher.chain(&tokens, &namespace);
        prop_assert_eq!(whole.blocks(), &expected[..]);

        let mut streamed = hasher.chain(&[], &namespace);
        let mut left = &tokens[..];
        for cut in cuts {
            let (more, after) = left.split_at(cut.min(left.len()));
            streamed.extend(&hasher, more, &namespace).unwrap();
            left = after;
        }
        streamed.extend(&hasher, left, &namespace).unwrap();
        prop_assert!(streamed == whole);

        // The buffers of another chain do not show.
        hasher.chain_into(&[1; 50], &Namespace::default().with_cache_salt("other"), &mut streamed);
        hasher.chain_into(&tokens, &namespace, &mut streamed);
        prop_assert!(streamed == whole);
    }

    /// What a namespace adds to the first block is in every name, and is the mark.
    #[test]
    fn the_mark_is_what_a_namespace_adds(tokens in vec(any::<TokenId>(), 0..60), namespace in namespaces()) {
        let namespace = Namespace { multimodal: Vec::new(), ..namespace };
        let hasher = BlockHasher::new(HashKey::from_bytes([9; 32]), SIZE);
        let [plain, marked] = [Namespace::default(), namespace.clone()].map(|one| hasher.chain(&tokens, &one));
        let differences = plain.blocks().iter().zip(marked.blocks()).map(|(plain, marked)| plain.0 ^ marked.0);
        prop_assert!(differences.into_iter().all(|difference| difference == marked.namespace()));
        prop_assert_eq!(marked.namespace() == 0, namespace.extra_keys(0, SIZE).is_empty());
    }
}

#[test]
fn a_chain_goes_on_with_blocks_of_its_own_size_only() {
    let hashers = [4, 8].map(|size| BlockHasher::new(HashKey::from_bytes([9; 32]), size));
    let mut chain = hashers[0].chain(&[7; 6], &Namespace::default());
    let before = chain.clone();
    let error = chain.extend(&hashers[1], &[7], &Namespace::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "hasher of blocks of 8 tokens: expected 4, as the chain has");
    assert!(chain == before);
}

#[test]
fn a_chain_does_not_show_its_names() {
    let chain = BlockHasher::new(HashKey::from_bytes([9; 32]), 4).chain(&[7; 9], &Namespace::default());
    assert_eq!(format!("{chain:?}"), "Chain { blocks: 2, block_size: 4, tokens: 9 }");
}

#[test]
fn a_rest_that_fills_no_block_has_no_name() {
    let hasher = BlockHasher::new(HashKey::from_bytes([0; 32]), 16);
    let chain = hasher.chain(&[7; 47], &Namespace::default());
    assert_eq!((chain.blocks().len(), chain.block_size(), chain.tokens()), (2, 16, 47));
}

#[test]
fn the_last_token_is_never_a_hit() {
    let hasher = BlockHasher::new(HashKey::from_bytes([0; 32]), 16);
    let hit = |tokens, leading| hasher.chain(&vec![7; tokens], &Namespace::default()).hit_tokens(leading);
    assert_eq!(hit(48, 3), 32);
    assert_eq!(hit(49, 3), 48);
    assert_eq!(hit(49, 1), 16);
    assert_eq!(hit(0, 0), 0);
    assert_eq!(Chain::default().hit_tokens(3), 0);
}

#[test]
#[should_panic(expected = "a block holds at least one token")]
fn a_block_of_no_tokens_is_refused() {
    BlockHasher::new(HashKey::from_bytes([0; 32]), 0);
}
