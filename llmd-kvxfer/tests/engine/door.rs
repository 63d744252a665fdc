//! Who may command a worker.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use llmd_core::ErrorKind;
use llmd_kvxfer::engine::{Scheduler, SchedulerSettings};

use super::fleet::{Engine, KEY, Make, id, lent, until};

fn command(engine: &Engine, key: &[u8]) -> llmd_core::Result<Scheduler> {
    let mut settings = SchedulerSettings::default();
    settings.connect_within = Duration::from_millis(50);
    let addresses: Vec<_> = engine.workers.iter().map(llmd_kvxfer::engine::Worker::address).collect();
    Scheduler::new(&addresses, key, settings)
}

fn path(engine: &Engine) -> String {
    engine.workers[0].address().strip_prefix("unix://").unwrap().to_owned()
}

#[test]
fn a_key_that_is_another_is_denied_and_another_scheduler_waits_its_turn() {
    let engine = Make::default().start();
    let error = command(&engine, b"guessed").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("did not prove that it has the key"), "{error}");
    let error = command(&engine, KEY).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("another scheduler commands this worker"), "{error}");
    until("both are counted", || engine.workers[0].stats().unwrap().refused_schedulers >= 2);
    let Engine { scheduler, workers, agents, pools, folder } = engine;
    drop(scheduler);
    let mut settings = SchedulerSettings::default();
    settings.patience = Duration::from_secs(10);
    let scheduler = Scheduler::new(&[workers[0].address()], KEY, settings).unwrap();
    let engine = Engine { scheduler, workers, agents, pools, folder };
    assert!(engine.scheduler.computed(&id("a"), 16, lent(&[1])).unwrap().is_some());
}

#[test]
fn whoever_looks_whether_somebody_listens_is_nobody_that_is_refused() {
    let engine = Make::default().start();
    for name in ["a", "b"] {
        drop(UnixStream::connect(path(&engine)).unwrap());
        assert!(engine.scheduler.computed(&id(name), 16, lent(&[1])).unwrap().is_some());
    }
    assert_eq!(engine.workers[0].stats().unwrap().refused_schedulers, 0);
}

#[test]
fn garbage_is_cut_off_and_commands_nothing() {
    let engine = Make::default().start();
    for garbage in [&[0xff; 64][..], &[0; 64], b"\x05\0\0\0hello", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stranger = UnixStream::connect(path(&engine)).unwrap();
        stranger.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // It may be cut off before it has said all.
        let _said = stranger.write_all(garbage);
        let mut answer = Vec::new();
        // However it is cut off.
        let _end = stranger.read_to_end(&mut answer);
    }
    // And whoever says nothing takes no place that others need.
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(path(&engine)).unwrap()).collect();
    until("they are let go", || engine.workers[0].stats().unwrap().refused_schedulers >= 4 + 40 - 16);
    assert!(engine.scheduler.computed(&id("a"), 16, lent(&[1])).unwrap().is_some());
    drop(silent);
    assert!(engine.scheduler.computed(&id("b"), 16, lent(&[1])).unwrap().is_some());
}

#[test]
fn a_worker_listens_on_a_port_as_well() {
    let mut make = Make::sharded(2);
    make.worker.bind = Some("tcp://127.0.0.1:0".to_owned());
    let engine = make.start();
    assert!(engine.scheduler.computed(&id("a"), 16, lent(&[1])).unwrap().is_some());
    let address = engine.workers[0].address();
    let mut stranger = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
    stranger.write_all(&[0xff; 8]).unwrap();
    until("it is cut off", || engine.workers[0].stats().unwrap().malformed_messages == 1);
    assert!(engine.scheduler.computed(&id("b"), 16, lent(&[1])).unwrap().is_some());
}

#[test]
fn a_socket_is_its_owners_and_goes_when_the_worker_does() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let mut make = Make::default();
    make.worker.bind = None;
    let agent = llmd_kvxfer::Agent::builder("a").transport(llmd_kvxfer::Local::default()).build().unwrap();
    let layout = make.layout(0);
    let pool = agent.register(llmd_kvxfer::Region::memfd(layout.end() as usize).unwrap(), layout).unwrap();
    make.worker.folder = Some(own.clone());
    let groups = vec![(llmd_core::GroupIdx(0), pool)];
    let worker = llmd_kvxfer::engine::Worker::new(agent, groups, KEY, make.worker).unwrap();
    assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 1);
    drop(worker);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
}

#[test]
fn workers_that_are_not_these_shards_are_refused() {
    let engine = Make::sharded(2).start();
    let Engine { scheduler, workers, .. } = engine;
    drop(scheduler);
    let (first, second) = (workers[0].address(), workers[1].address());
    let said = |addresses: &[String]| {
        let tried = Scheduler::new(addresses, KEY, SchedulerSettings::default());
        tried.unwrap_err().to_string()
    };
    assert!(said(&[second, first.clone()]).ends_with("has shard 1 of 2, expected 0 of 2"));
    assert!(said(&[first]).ends_with("has shard 0 of 2, expected 0 of 1"));
}
