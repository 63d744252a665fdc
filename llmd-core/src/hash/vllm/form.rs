//! What vLLM hashes of a block, as values of Python, whatever they are encoded in.

use super::super::ExtraKey;
use crate::TokenId;

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

/// Takes Python's values, one after the other.
pub(super) trait Encode {
    /// `None`.
    fn none(&mut self);

    fn int(&mut self, int: i64);

    fn bytes(&mut self, bytes: &[u8]);

    /// A text that came from outside, and so is an object of its own.
    fn text(&mut self, text: &str);

    /// A text that stands in vLLM's source, and so is one object wherever it occurs.
    fn literal(&mut self, text: &'static str) {
        self.text(text);
    }

    /// A tuple of as many values as `write` writes.
    fn tuple(&mut self, len: usize, write: impl FnOnce(&mut Self));
}

/// `(name before, (token, …), None or (extra key, …))`.
pub(super) fn write_block<E: Encode>(
    to: &mut E,
    form: ExtraKeyForm,
    parent: &[u8],
    tokens: &[TokenId],
    extra: &[ExtraKey<'_>],
) {
    to.tuple(3, |to| {
        to.bytes(parent);
        to.tuple(tokens.len(), |to| tokens.iter().for_each(|&token| to.int(token.into())));
        match extra {
            [] => to.none(),
            _ => to.tuple(extra.len(), |to| extra.iter().for_each(|key| write_extra(to, form, key))),
        }
    });
}

fn write_extra<E: Encode>(to: &mut E, form: ExtraKeyForm, key: &ExtraKey<'_>) {
    match form {
        ExtraKeyForm::Tagged => write_tagged(to, key),
        ExtraKeyForm::Untagged | ExtraKeyForm::UntaggedWithoutOffset => match *key {
            ExtraKey::CacheSalt(text) | ExtraKey::Lora { name: text, .. } => to.text(text),
            ExtraKey::Multimodal { identifier, .. } if form == ExtraKeyForm::UntaggedWithoutOffset => {
                to.text(identifier);
            }
            ExtraKey::Multimodal { identifier, offset } => to.tuple(2, |to| {
                to.text(identifier);
                to.int(offset);
            }),
            ExtraKey::PromptEmbeds(digest) => to.bytes(digest),
        },
    }
}

/// An adapter whose path is not known is written with `None` for it, as no engine writes one.
fn write_tagged<E: Encode>(to: &mut E, key: &ExtraKey<'_>) {
    match *key {
        ExtraKey::CacheSalt(salt) => to.tuple(2, |to| {
            to.literal("cache_salt");
            to.text(salt);
        }),
        ExtraKey::Lora { name, path } => to.tuple(3, |to| {
            to.literal("lora");
            to.text(name);
            match path {
                Some(path) => to.text(path),
                None => to.none(),
            }
        }),
        ExtraKey::Multimodal { identifier, offset } => to.tuple(3, |to| {
            to.literal("mm");
            to.text(identifier);
            to.int(offset);
        }),
        ExtraKey::PromptEmbeds(digest) => to.tuple(2, |to| {
            to.literal("prompt_embeds");
            to.bytes(digest);
        }),
    }
}
