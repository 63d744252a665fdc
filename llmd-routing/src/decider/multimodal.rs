//! `always-disagg-multimodal-decider`: requests that have something to encode.

use crate::plugin::{Context, Data, Decider, Plugin};

/// Says yes to a request with at least one image or other multimodal item.
///
/// Semantics: llm-d's `always-disagg-multimodal-decider`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MultimodalDecider;

impl Plugin for MultimodalDecider {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Tokens]
    }
}

impl Decider for MultimodalDecider {
    fn disaggregates(&self, cx: &Context<'_>, _: Option<usize>) -> bool {
        !cx.request.namespace.multimodal.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::hash::{MultimodalItem, Namespace};

    use super::*;
    use crate::Request;
    use crate::plugin::Attributes;
    use crate::testing::{disaggregates, request};

    #[test]
    fn only_what_has_something_to_encode_is_encoded_elsewhere() {
        let image = MultimodalItem { identifier: "cafe".into(), offset: 0, len: 4 };
        let says = |request: &Request| disaggregates(&MultimodalDecider, request, &Attributes::default(), Some(0));
        assert!(!says(&request(0..16)));
        assert!(says(&request(0..16).with_namespace(Namespace::default().with_multimodal([image]))));
    }
}
