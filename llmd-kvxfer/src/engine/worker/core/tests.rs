use super::*;
use crate::layout::KvLayout;
use crate::region::Region;
use crate::session::GrantBytes;
use crate::session::decode::{Allocation, FailedBlock};
use crate::transport::Local;

fn core(here: &Local) -> (Core, Pool) {
    let agent = Agent::builder("worker").transport(here.clone()).build().unwrap();
    let layout = KvLayout::opaque("bytes", 8, 4096).unwrap();
    let pool = agent.register(Region::memfd(8 * 4096).unwrap(), layout).unwrap();
    let core = Core::new(agent, vec![(GroupIdx(0), pool.clone())], &WorkerSettings::default()).unwrap();
    (core, pool)
}

fn granted(core: &mut Core, id: &RequestId, blocks: &[u32]) -> GrantBytes {
    let groups = vec![(GroupIdx(0), 0, blocks.to_vec())];
    core.obey(Command::Computed { number: 1, id: id.clone(), tokens: 16, groups }, false);
    match core.notices.pop() {
        Some(Notice::Granted { number: 1, grants }) => GrantBytes::clone(&grants[0].1),
        other => panic!("{other:?}, expected what was granted"),
    }
}

fn until_done(core: &mut Core, ends: usize) {
    while core.done.len() < ends {
        core.step();
        std::thread::yield_now();
    }
}

#[test]
fn what_was_under_way_when_it_panicked_ends_once() {
    let here = Local::default();
    let ((mut prefill, _), (mut decode, _)) = (core(&here), core(&here));
    let id = RequestId::new("cmpl-7").unwrap();
    let grant = granted(&mut prefill, &id, &[3]);
    let part = Part { group: GroupIdx(0), shard: 0 };
    let offered = vec![crate::session::Granted { part, from_token: 0, grant }];
    let params = crate::session::Params::new(16, Duration::from_secs(30), offered).unwrap();
    decode.obey(Command::Arrive { id: id.clone(), prompt_tokens: 16, text: params.to_text() }, false);
    let groups = vec![Allocation { group: GroupIdx(0), block_tokens: 16, from_token: 0, blocks: vec![5] }];
    // As it is when a panic comes between the two: the end of the fetch is heard by nobody.
    let now = decode.agent.now();
    decode.loads.insert(id.clone(), Load { number: 2, groups: groups.clone() });
    decode.decode.allocated(now, &id, 0, 16, groups.clone()).unwrap();
    decode.recover();
    until_done(&mut decode, 1);
    let failed = vec![FailedBlock { group: GroupIdx(0), block: 5 }];
    assert_eq!(decode.done.failed, [(id.clone(), failed)]);
    // A scheduler that says it again is told of the same end.
    decode.notices.clear();
    let again = Command::Allocated { number: 2, id: id.clone(), local_tokens: 0, external_tokens: 16, groups };
    decode.obey(again, false);
    assert_eq!(decode.notices, [Notice::Ended { number: 2, is_waiting: false }]);

    prefill.recover();
    until_done(&mut prefill, 1);
    assert_eq!((&prefill.done.sent[..], prefill.agent.stats().leases), (&[id.clone()][..], 0));
    granted(&mut prefill, &id, &[3]);
    assert_eq!((decode.done.received.len(), decode.stats.panics, prefill.stats.panics), (1, 1, 1));
}

#[test]
fn nothing_new_is_taken_while_nobody_takes_what_has_ended() {
    let (mut core, _pool) = core(&Local::default());
    let id = RequestId::new("cmpl-7").unwrap();
    let groups = vec![(GroupIdx(0), 0, vec![3])];
    core.obey(Command::Computed { number: 1, id, tokens: 16, groups }, true);
    let why = "the engine does not take what has ended".to_owned();
    assert_eq!(core.notices, [Notice::NotGranted { number: 1, why }]);
    assert_eq!(core.stats.refused_untold, 1);
}

#[test]
fn what_was_given_up_is_told_to_nobody() {
    let (mut core, _pool) = core(&Local::default());
    let id = RequestId::new("cmpl-7").unwrap();
    granted(&mut core, &id, &[3]);
    core.obey(Command::GiveUp { id: id.clone() }, false);
    while core.agent.stats().leases > 0 || !core.prefill.is_empty() {
        core.step();
    }
    assert_eq!((core.done.len(), &core.notices[..]), (0, &[][..]));
    core.obey(Command::Holds { number: 1 }, false);
    assert_eq!(core.notices, [Notice::Ended { number: 1, is_waiting: false }]);
}
