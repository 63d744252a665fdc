//! Engines' names for blocks: of any tokens under any settings, as many as there are blocks, and the same for what begins
//! alike.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use llmd_core::hash::{EngineHasher, Lora, MultimodalItem, Namespace};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    scheme: Result<u8, &'a str>,
    block_size: u8,
    seed: Option<&'a str>,
    version: Option<Version<'a>>,
    tokens: Vec<u32>,
    lora: Option<(&'a str, Option<&'a str>)>,
    salt: Option<&'a str>,
    items: Vec<(&'a str, u16, u16)>,
    digest: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Version<'a> {
    Numbers(u8, u8),
    Text(&'a str),
}

impl Input<'_> {
    fn hasher(&self) -> llmd_core::Result<EngineHasher> {
        let known = |number: u8| EngineHasher::SCHEMES[usize::from(number) % EngineHasher::SCHEMES.len()];
        let mut hasher = EngineHasher::new(self.scheme.map_or_else(|text| text, known), self.block_size.into())?;
        if let Some(seed) = self.seed {
            hasher = hasher.with_seed(seed)?;
        }
        match self.version {
            Some(Version::Numbers(major, minor)) => hasher.with_engine_version(&format!("{}.{minor}", major % 2)),
            Some(Version::Text(text)) => hasher.with_engine_version(text),
            None => Ok(hasher),
        }
    }

    fn namespace(&self) -> Namespace {
        let mut namespace = Namespace::default();
        if let Some((name, path)) = self.lora {
            let lora = Lora::new(name);
            namespace = namespace.with_lora(match path {
                Some(path) => lora.with_path(path),
                None => lora,
            });
        }
        if let Some(salt) = self.salt {
            namespace = namespace.with_cache_salt(salt);
        }
        let item = |&(identifier, offset, len): &(&str, u16, u16)| MultimodalItem {
            identifier: identifier.into(),
            offset: offset.into(),
            len: len.into(),
        };
        namespace.with_multimodal(self.items.iter().map(item).collect::<Vec<_>>())
    }
}

fuzz_target!(|input: Input<'_>| {
    let Ok(hasher) = input.hasher() else { return };
    assert_eq!(hasher.event_int(input.digest).is_ok(), input.digest.len() == hasher.digest_len());
    let namespace = input.namespace();
    let mut names = vec![0xff];
    let Ok(blocks) = hasher.hash_into(&input.tokens, &namespace, &mut names) else {
        assert_eq!(names, [0xff], "after an error nothing was added");
        return;
    };
    assert_eq!(blocks, input.tokens.len() / hasher.block_size());
    assert_eq!(names.len(), 1 + blocks * hasher.digest_len());
    for name in names[1..].chunks_exact(hasher.digest_len()) {
        hasher.event_int(name).expect("it is as long as a name");
    }
    let half = &input.tokens[..input.tokens.len() / 2];
    let mut first = vec![0xff];
    hasher.hash_into(half, &namespace, &mut first).expect("the whole could be hashed");
    assert!(names.starts_with(&first));
});
