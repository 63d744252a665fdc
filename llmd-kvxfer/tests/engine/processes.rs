//! Two engines in two processes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::fleet::{Make, failed, id, into, lent, received_whole};

/// What the other runs as an engine that prefills: it says what its request can be fetched by, and stays until its input ends.
#[test]
#[ignore = "is run by the others, in a process of its own"]
fn prefiller() {
    if std::env::var_os("LLMD_ENGINE").is_none() {
        return;
    }
    let engine = Make::sharded(2).start();
    engine.fill(0, &[4, 9, 2]);
    let text = engine.scheduler.computed(&id("cmpl-7"), 48, lent(&[4, 9, 2])).unwrap().unwrap();
    println!("\ntext {text}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn start() -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::prefiller", "--ignored", "--nocapture"]).env("LLMD_ENGINE", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let text = said.lines().find_map(|line| line.unwrap().strip_prefix("text ").map(str::to_owned));
    (child, text.unwrap())
}

#[test]
fn engines_of_two_processes_hand_over_and_one_that_is_killed_is_done_without() {
    let (mut child, text) = start();
    let mut make = Make::sharded(1);
    make.worker.decode.fetch_within = Duration::from_millis(500);
    let decode = make.start();
    decode.scheduler.arrive(&id("cmpl-7"), 48, &text).unwrap();
    decode.scheduler.arrive(&id("cmpl-8"), 48, &text).unwrap();
    decode.scheduler.allocated(&id("cmpl-7"), 0, 48, vec![into(0, 0, &[1, 2, 3])]).unwrap();
    received_whole(&decode, &id("cmpl-7"));
    let here = Make::sharded(2).start();
    assert_eq!(decode.content(0, &[1, 2, 3]), here.fill(0, &[4, 9, 2]));
    child.kill().unwrap();
    child.wait().unwrap();
    decode.scheduler.allocated(&id("cmpl-8"), 0, 48, vec![into(0, 0, &[5, 6, 7])]).unwrap();
    let [done] = &decode.told(1)[..] else { panic!("one worker") };
    assert_eq!(
        (&done.received[..], &done.failed[..]),
        (&[id("cmpl-8")][..], &[(id("cmpl-8"), failed(&[5, 6, 7]))][..])
    );
}

#[test]
fn an_engine_that_hangs_costs_no_more_than_the_deadline() {
    let (mut child, text) = start();
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let mut make = Make::default();
    make.worker.decode.fetch_within = Duration::from_millis(200);
    let decode = make.start();
    decode.scheduler.arrive(&id("cmpl-7"), 48, &text).unwrap();
    decode.scheduler.allocated(&id("cmpl-7"), 0, 48, vec![into(0, 0, &[1, 2, 3])]).unwrap();
    let [done] = &decode.told(1)[..] else { panic!("one worker") };
    assert_eq!(done.failed, [(id("cmpl-7"), failed(&[1, 2, 3]))]);
    decode.is_silent();
    child.kill().unwrap();
    child.wait().unwrap();
}
