//! What entered the hash of a stored block, in the terms in which a request says it.

use smallvec::SmallVec;

use super::ExtraKey;
use crate::event::{BlockStored, EventExtraKey};

/// What besides tokens entered the hash of one block of a stored event: what
/// [`Namespace::extra_keys`](super::Namespace::extra_keys) gives for the request that stored it, but for the adapter's
/// path, which events do not say.
///
/// `block` counts the event's `block_hashes` from 0, and `adapter` is [`BlockStored::adapter`]. Events list keys without
/// tags, in the order adapter, multimodal items, salt, digest. So a text at the beginning that is the adapter's name is
/// the adapter, and any other text is a salt. vLLM 0.17 and 0.18 name multimodal items without their offset; such a name
/// passes for a salt, and a block with it equals no block of a request without it.
///
/// ```
/// use llmd_core::event::{BlockStored, EventExtraKey};
/// use llmd_core::hash::{Lora, Namespace, event_extra_keys};
///
/// let mut stored = BlockStored::default();
/// stored.lora_name = Some("poet".into());
/// stored.extra_keys = vec![vec![EventExtraKey::Text("poet".into()), EventExtraKey::Text("tenant-7".into())]];
///
/// let adapter = stored.adapter();
/// let request = Namespace::default().with_lora(Lora::new("poet")).with_cache_salt("tenant-7");
/// assert_eq!(event_extra_keys(&stored, 0, adapter.as_deref()), request.extra_keys(0, 16));
/// ```
pub fn event_extra_keys<'a>(
    stored: &'a BlockStored,
    block: usize,
    adapter: Option<&'a str>,
) -> SmallVec<[ExtraKey<'a>; 2]> {
    let mut listed = stored.extra_keys.get(block).map_or(&[][..], Vec::as_slice);
    if let [EventExtraKey::Text(first), rest @ ..] = listed
        && adapter == Some(first)
    {
        listed = rest;
    }
    let mut keys = SmallVec::new();
    keys.extend(adapter.map(|name| ExtraKey::Lora { name, path: None }));
    keys.extend(listed.iter().map(|key| match key {
        EventExtraKey::Digest(digest) => ExtraKey::PromptEmbeds(digest),
        EventExtraKey::Multimodal { identifier, offset } => ExtraKey::Multimodal { identifier, offset: *offset },
        EventExtraKey::Text(salt) => ExtraKey::CacheSalt(salt),
    }));
    let begins_a_prompt = block == 0 && stored.parent_block_hash.is_none();
    if begins_a_prompt && stored.extra_keys.is_empty() {
        keys.extend(stored.cache_salt.as_deref().filter(|salt| !salt.is_empty()).map(ExtraKey::CacheSalt));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExternalBlockHash;
    use crate::hash::{Lora, MultimodalItem, Namespace};

    fn text(text: &str) -> EventExtraKey {
        EventExtraKey::Text(text.into())
    }

    fn keys(stored: &BlockStored, block: usize) -> Vec<String> {
        let adapter = stored.adapter();
        event_extra_keys(stored, block, adapter.as_deref()).iter().map(|key| format!("{key:?}")).collect()
    }

    #[test]
    fn a_stored_block_has_the_keys_of_the_request_that_stored_it() {
        let image = MultimodalItem { identifier: "cafe".into(), offset: 3, len: 6 };
        let request = Namespace::default()
            .with_lora(Lora::new("poet").with_path("/adapters/poet"))
            .with_cache_salt("tenant-7")
            .with_multimodal([image]);
        let cafe = |offset| EventExtraKey::Multimodal { identifier: "cafe".into(), offset };
        let stored = BlockStored {
            lora_name: Some("poet".into()),
            extra_keys: vec![
                vec![text("poet"), cafe(3), text("tenant-7")],
                vec![text("poet"), cafe(-1)],
                vec![text("poet"), cafe(-5)],
                vec![text("poet")],
            ],
            ..BlockStored::default()
        };

        let adapter = stored.adapter();
        for block in 0..stored.extra_keys.len() {
            let mut asked = request.extra_keys(block * 4, 4);
            for key in &mut asked {
                if let ExtraKey::Lora { path, .. } = key {
                    *path = None;
                }
            }
            assert_eq!(event_extra_keys(&stored, block, adapter.as_deref()), asked, "block {block}");
        }
    }

    #[test]
    fn a_salt_may_read_like_the_adapter() {
        let stored = BlockStored {
            lora_name: Some("a".into()),
            extra_keys: vec![vec![text("a"), text("a")], vec![text("a")]],
            ..BlockStored::default()
        };
        assert_eq!(keys(&stored, 0), [r#"Lora { name: "a", path: None }"#, r#"CacheSalt("a")"#]);
        assert_eq!(keys(&stored, 1), [r#"Lora { name: "a", path: None }"#]);
    }

    #[test]
    fn engines_that_send_no_keys_still_say_the_adapter() {
        let named = BlockStored { lora_id: Some(3), lora_name: Some("poet".into()), ..BlockStored::default() };
        assert_eq!(keys(&named, 5), [r#"Lora { name: "poet", path: None }"#]);

        let numbered = BlockStored { lora_id: Some(3), ..BlockStored::default() };
        assert_eq!(keys(&numbered, 5), [r#"Lora { name: "lora id 3", path: None }"#]);
    }

    #[test]
    fn a_salt_beside_the_keys_enters_the_first_block_of_a_prompt_only() {
        let mut stored = BlockStored { cache_salt: Some("t1".into()), ..BlockStored::default() };
        assert_eq!(keys(&stored, 0), [r#"CacheSalt("t1")"#]);
        assert_eq!(keys(&stored, 1), [""; 0]);

        stored.parent_block_hash = Some(ExternalBlockHash::from_int(7));
        assert_eq!(keys(&stored, 0), [""; 0]);
    }

    #[test]
    fn a_digest_of_embeddings_stays_one() {
        let stored =
            BlockStored { extra_keys: vec![vec![EventExtraKey::Digest(vec![1, 2])]], ..BlockStored::default() };
        assert_eq!(keys(&stored, 0), ["PromptEmbeds([1, 2])"]);
    }
}
