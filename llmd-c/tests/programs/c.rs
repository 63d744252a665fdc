//! Programs in C and C++.

use crate::toolchain::{Language, Link, Program, fake_driver, is_installed};

#[test]
fn a_program_in_c99_calls_every_function() {
    for link in [Link::Shared, Link::Static] {
        assert_eq!(Program::compile(Language::C99, link, "llmd-c/tests/c/smoke.c").run(&[]), "smoke: done\n");
    }
}

#[test]
fn an_index_is_asked_for_numbers_and_told_what_it_should_know() {
    for link in [Link::Shared, Link::Static] {
        assert_eq!(Program::compile(Language::C99, link, "llmd-c/tests/c/wide.c").run(&[]), "wide: done\n");
    }
}

#[test]
fn a_request_goes_through_its_stages() {
    for link in [Link::Shared, Link::Static] {
        assert_eq!(Program::compile(Language::C99, link, "llmd-c/tests/c/stages.c").run(&[]), "stages: done\n");
    }
}

#[test]
fn a_wrong_call_is_answered_and_none_crashes() {
    for link in [Link::Shared, Link::Static] {
        assert_eq!(Program::compile(Language::C99, link, "llmd-c/tests/c/misuse.c").run(&[]), "misuse: done\n");
    }
}

#[test]
fn blocks_move_between_agents() {
    for link in [Link::Shared, Link::Static] {
        assert_eq!(Program::compile(Language::C99, link, "llmd-c/tests/c/move_kv.c").run(&[]), "move_kv: done\n");
    }
}

#[test]
fn blocks_move_between_devices() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let driver = fake_driver(folder.path()).display().to_string();
    let sockets = folder.path().join("sockets").display().to_string();
    for link in [Link::Shared, Link::Static] {
        let program = Program::compile(Language::C99, link, "llmd-c/tests/c/devices.c");
        assert_eq!(program.run(&[&driver, &sockets]), "devices: done\n");
    }
}

#[test]
fn eight_threads_share_an_index_and_a_scheduler() {
    let program = Program::compile(Language::C99, Link::Shared, "llmd-c/tests/c/threads.c");

    assert_eq!(program.run(&["300"]), "threads: done\n");
}

#[test]
fn the_same_header_serves_cpp17() {
    if is_installed("c++") {
        let program = Program::compile(Language::Cpp17, Link::Shared, "llmd-c/tests/c/smoke.cpp");
        assert_eq!(program.run(&[]), "smoke in C++: done\n");
    }
}

#[test]
fn the_example_says_who_holds_a_prompt() {
    let said = Program::compile(Language::C99, Link::Static, "examples/c/who_holds_this_prompt.c").run(&[]);

    assert!(said.starts_with("pod-7 holds 6 leading blocks\n"), "{said}");
    assert!(said.contains("pod-7 (exact): holds 6 leading"), "{said}");
    assert!(said.ends_with("of 100 tokens pod-8 and pod-7 hold 0 and 3, of all 0 and 6\n"), "{said}");
}

#[test]
fn the_example_says_where_a_request_should_go() {
    let said = Program::compile(Language::C99, Link::Shared, "examples/c/where_should_it_go.c").run(&[]);

    assert!(said.starts_with("engine-1 (10.0.0.1:8000) because\n"), "{said}");
    assert!(said.ends_with("in flight there: 1\nin flight after the end: 0\n"), "{said}");
}

#[test]
fn the_example_says_where_a_prompt_is_computed_and_who_does_it_when_one_fails() {
    let said = Program::compile(Language::C99, Link::Shared, "examples/c/prefill_and_decode.c").run(&[]);
    let lines: Vec<_> = said.lines().collect();

    assert!(said.starts_with("2 problems\n  4:9 plugins[0].type: "), "{said}");
    assert!(lines[2].starts_with("  5:") && lines[2].contains(" plugins[1].parameters.maxNumOfEndpoints: "), "{said}");
    assert_eq!(lines[3], "0 problems");
    let [prefill, decode] = [lines[4], lines[5]];
    assert!(prefill.starts_with("prefill at prefill-") && prefill.ends_with(") within 30 s"), "{said}");
    assert_eq!(decode, "decode at decode-0 (10.0.0.1:8000)");
    assert!(
        said.contains("  without x-prefiller-host-port\n") && said.contains("  x-prefiller-host-port: 10.0.0."),
        "{said}"
    );
    let without = said.split("that one failed: another\nprefill at prefill-").nth(1).expect("it is tried elsewhere");
    assert!(without.contains("that one failed: without\ndecode at decode-0 "), "{said}");
    assert!(said.contains("{\"endpoint\":\"decode-0\""), "{said}");
    assert!(said.ends_with("503 rejected-no-endpoints: no endpoint serves model tiny\n"), "{said}");
}

#[test]
fn the_example_moves_blocks_between_two_processes() {
    let said = Program::compile(Language::C99, Link::Shared, "examples/c/move_kv.c").run(&[]);

    assert!(said.starts_with("decode-0 has 3 blocks by shm: "), "{said}");
    assert!(said.ends_with("prefill-0 may use 3 blocks again\n"), "{said}");
}
