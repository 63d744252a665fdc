//! Python's values as canonical CBOR: definite lengths, shortest integers, no tags.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::encode::{Error, Write};

use super::Input;
use super::form::Encode;

/// Appends CBOR to what is hashed.
pub(super) struct Cbor<'a>(Encoder<Sink<'a>>);

impl<'a> Cbor<'a> {
    pub(super) fn begin(input: &'a mut Input) -> Self {
        Self(Encoder::new(Sink(input)))
    }
}

impl Encode for Cbor<'_> {
    fn none(&mut self) {
        written(self.0.null());
    }

    fn int(&mut self, int: i64) {
        written(self.0.i64(int));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        written(self.0.bytes(bytes));
    }

    fn text(&mut self, text: &str) {
        written(self.0.str(text));
    }

    fn tuple(&mut self, len: usize, write: impl FnOnce(&mut Self)) {
        written(self.0.array(len as u64));
        write(self);
    }
}

struct Sink<'a>(&'a mut Input);

impl Write for Sink<'_> {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn written<T>(result: Result<T, Error<Infallible>>) {
    result.map(drop).expect("a list of bytes takes every byte");
}

#[cfg(test)]
mod tests {
    use super::super::ExtraKeyForm;
    use super::super::form::write_block;
    use super::*;
    use crate::TokenId;
    use crate::hash::ExtraKey;

    const KEYS: [ExtraKey<'_>; 4] = [
        ExtraKey::Lora { name: "a", path: Some("/a") },
        ExtraKey::Multimodal { identifier: "m", offset: -300 },
        ExtraKey::CacheSalt("s"),
        ExtraKey::PromptEmbeds(&[0xab]),
    ];

    fn block(form: ExtraKeyForm, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> String {
        let mut input = Input::new();
        write_block(&mut Cbor::begin(&mut input), form, &[0xee; 32], tokens, extra);
        let block = hex::encode(input);
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
}
