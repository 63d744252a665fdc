use super::super::super::{BlockFate, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState};
use super::super::{ExactIndex, ExactReader, ExactWriter};
use crate::event::{BlockStored, EventExtraKey, KvEvent};
use crate::hash::{Lora, Namespace};
use crate::testing::{removed, stored};
use crate::{ExternalBlockHash, Medium, WorkerId};

const W: WorkerId = WorkerId(0);
const TOKENS: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn index() -> (ExactWriter, ExactReader) {
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(2));
    writer.set_state(W, WorkerState::Exact);
    (writer, reader)
}

fn store(writer: &mut ExactWriter, event: BlockStored) {
    writer.apply(W, 0.0, &[KvEvent::BlockStored(event)]);
}

fn why(reader: &ExactReader, tokens: &[u32], namespace: &Namespace) -> Option<BlockFate> {
    reader.explain(&reader.hasher().chain(tokens, namespace)).get(W).expect("it is known").next
}

/// Three blocks of a tenant, with an adapter.
fn salted() -> BlockStored {
    let text = |text: &str| EventExtraKey::Text(text.into());
    let keys = vec![vec![text("poet"), text("tenant")], vec![text("poet")], vec![text("poet")]];
    BlockStored { lora_name: Some("poet".into()), extra_keys: keys, ..stored(None, 1..=3, &TOKENS[..6]) }
}

#[test]
fn the_same_tokens_may_be_held_under_another_adapter_or_salt() {
    let (mut writer, reader) = index();
    let tenant = Namespace::default().with_lora(Lora::new("poet")).with_cache_salt("tenant");
    store(&mut writer, salted());
    let plain = Namespace::default();
    for namespace in [&plain, &Namespace::default().with_lora(Lora::new("poet")), &plain.clone().with_cache_salt("x")] {
        assert_eq!(why(&reader, &TOKENS, namespace), Some(BlockFate::OtherNamespace));
    }
    assert_eq!(why(&reader, &TOKENS, &tenant), Some(BlockFate::NeverStored), "the fourth block is nowhere");
    assert_eq!(why(&reader, &[9, 9], &plain), Some(BlockFate::NeverStored), "other tokens");

    // What goes on behind a prefix that both have.
    store(&mut writer, stored(None, [11], &TOKENS[..2]));
    assert_eq!(why(&reader, &TOKENS[..4], &plain), Some(BlockFate::OtherNamespace));
    store(&mut writer, stored(Some(11), [12], &[7, 7]));
    assert_eq!(why(&reader, &[1, 2, 7, 7], &tenant), Some(BlockFate::OtherNamespace), "held without any keys");
}

#[test]
fn what_went_is_told_before_what_others_have() {
    let (mut writer, reader) = index();
    store(&mut writer, salted());
    store(&mut writer, stored(None, [11], &TOKENS[..2]));
    writer.apply(W, 4.0, &[removed(Medium::Gpu, [11])]);
    assert_eq!(why(&reader, &TOKENS, &Namespace::default()), Some(BlockFate::Evicted { at: 4.0 }));
}

#[test]
fn an_engine_may_have_blocks_of_another_size() {
    let (mut writer, reader) = index();
    let plain = Namespace::default();
    store(&mut writer, stored(None, [1], &TOKENS[..4]));
    assert_eq!(why(&reader, &[9, 9, 9, 9], &plain), Some(BlockFate::NeverStored));
    assert_eq!(
        why(&reader, &TOKENS[..6], &plain),
        Some(BlockFate::OtherBlockSize { block_size: 4 }),
        "the third block would be half of one of the engine's"
    );

    let (mut writer, reader) = index();
    let unheard_of = BlockStored { block_size: 3, ..stored(None, [1], &TOKENS[..2]) };
    store(&mut writer, unheard_of);
    assert_eq!(why(&reader, &TOKENS, &plain), Some(BlockFate::OtherBlockSize { block_size: 3 }));
    writer.clear(W);
    assert_eq!(why(&reader, &TOKENS, &plain), Some(BlockFate::NeverStored));
}

#[test]
fn what_is_unknown_of_a_recovering_worker_is_not_heard_of() {
    let (mut writer, reader) = index();
    let plain = Namespace::default();
    writer.set_state(W, WorkerState::Recovering);
    assert_eq!(why(&reader, &TOKENS, &plain), Some(BlockFate::Unheard));
    store(&mut writer, salted());
    assert_eq!(why(&reader, &TOKENS, &plain), Some(BlockFate::OtherNamespace));
    assert_eq!(why(&reader, &TOKENS[..6], &plain), Some(BlockFate::OtherNamespace));
}

#[test]
fn only_namespaces_that_were_seen_lately_are_known() {
    let (mut writer, reader) = index();
    store(&mut writer, salted());
    for tenant in 0..64_u64 {
        let text = EventExtraKey::Text(format!("tenant {tenant}"));
        let event = stored(None, [100 + tenant], &[50, 50]);
        let parent: Option<ExternalBlockHash> = None;
        store(&mut writer, BlockStored { extra_keys: vec![vec![text]], parent_block_hash: parent, ..event });
    }
    assert_eq!(why(&reader, &TOKENS, &Namespace::default()), Some(BlockFate::NeverStored));
    assert_eq!(why(&reader, &[50, 50], &Namespace::default()), Some(BlockFate::OtherNamespace));
}
