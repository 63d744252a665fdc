//! Every message is read as it was written, and its bytes stay what they are.

use std::time::Duration;

use llmd_core::GroupIdx;
use proptest::prelude::*;

use super::*;
use crate::grant::AgentId;
use crate::layout::KvLayout;
use crate::session::decode::Allocation;

fn request(name: &str) -> RequestId {
    RequestId::new(name).unwrap()
}

#[test]
fn bytes_stay_what_they_are() {
    let id = request("cmpl-7");
    let allocation = Allocation { group: GroupIdx(1), block_tokens: 16, from_token: 32, blocks: vec![4, 9, 2] };
    let commands = [
        ("abort", Command::Abort { id: id.clone() }),
        (
            "allocated",
            Command::Allocated {
                number: 300,
                id: id.clone(),
                local_tokens: 32,
                external_tokens: 40,
                groups: vec![allocation],
            },
        ),
        ("arrive", Command::Arrive { id: id.clone(), prompt_tokens: 72, text: "AQ".to_owned() }),
        (
            "computed",
            Command::Computed { number: 301, id: id.clone(), tokens: 72, groups: vec![(GroupIdx(0), 0, vec![7, 8])] },
        ),
        ("give-up", Command::GiveUp { id: id.clone() }),
        ("holds", Command::Holds { number: 302 }),
        ("preempted", Command::Preempted { id }),
        ("release", Command::Release { grants: vec![b"grant".as_slice().into()] }),
    ];
    let layout = KvLayout::opaque("dtype=bfloat16", 8, 4096).unwrap();
    let here = Here {
        boot: AgentId::from_bytes([7; 16]),
        shard: 1,
        shards: 2,
        ttl: Duration::from_secs(30),
        groups: vec![(GroupIdx(0), layout)],
    };
    let notices = [
        ("ended", Notice::Ended { number: 300, is_waiting: true }),
        ("granted", Notice::Granted { number: 301, grants: vec![(GroupIdx(0), b"grant".as_slice().into())] }),
        ("here", Notice::Here(here)),
        ("not-granted", Notice::NotGranted { number: 301, why: "all leases hold".to_owned() }),
        ("refused", Notice::Refused { why: "another scheduler commands this worker".to_owned() }),
    ];
    for (_, command) in &commands {
        assert_eq!(Command::decode(&command.encode()).unwrap(), *command);
    }
    for (_, notice) in &notices {
        assert_eq!(Notice::decode(&notice.encode()).unwrap(), *notice);
    }
    let said = commands.map(|(name, command)| (name, command.encode())).into_iter();
    for (name, bytes) in said.chain(notices.map(|(name, notice)| (name, notice.encode()))) {
        let path = format!("{}/tests/golden/engine-1/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        expect_test::expect_file![path].assert_eq(&format!("{}\n", hex::encode(bytes)));
    }
}

#[test]
fn what_is_wrong_is_said() {
    let said = |bytes: &[u8]| Command::decode(bytes).unwrap_err().to_string();
    assert_eq!(said(&[]), "command: `version` at byte 0 ends after 0 bytes of 1");
    assert_eq!(said(&[9]), "a command of version 9, expected 1: the other side is of another release");
    assert_eq!(said(&[1, 99]), "command: `kind` at byte 2 is 99, expected 1 to 8");
    assert_eq!(said(&[1, 1, 0]), "command: `request` at byte 3 is a request's name of 0 bytes: expected 1 to 512");
    assert_eq!(said(&[1, 6, 1, 1]), "command: 1 bytes follow its end");
}

fn any_command() -> impl Strategy<Value = Command> {
    let id = "[a-z0-9-]{1,40}".prop_map(|name| request(&name));
    let blocks = || prop::collection::vec(any::<u32>(), 0..9);
    let allocation =
        (any::<u32>(), any::<u32>(), any::<u32>(), blocks()).prop_map(|(group, block_tokens, from, blocks)| {
            Allocation { group: GroupIdx(group), block_tokens, from_token: from, blocks }
        });
    let groups = prop::collection::vec((any::<u32>().prop_map(GroupIdx), any::<u32>(), blocks()), 0..4);
    let fields = (id, any::<u64>(), any::<[u32; 2]>(), prop::collection::vec(allocation, 0..4), groups, ".{0,60}");
    (0..8_u8, fields).prop_map(|(kind, (id, number, [one, other], allocations, groups, text))| match kind {
        0 => Command::Abort { id },
        1 => Command::Allocated { number, id, local_tokens: one, external_tokens: other, groups: allocations },
        2 => Command::Arrive { id, prompt_tokens: one, text },
        3 => Command::Computed { number, id, tokens: one, groups },
        4 => Command::GiveUp { id },
        5 => Command::Holds { number },
        6 => Command::Preempted { id },
        _ => Command::Release { grants: vec![text.as_bytes().into(); (one % 4) as usize] },
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(command in any_command()) {
        prop_assert_eq!(Command::decode(&command.encode()).unwrap(), command);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0..10_u8) {
        bytes.splice(0..0, [VERSION, kind]);
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        }
        let _ = Notice::decode(&bytes);
    }
}
