//! What passes between those who trust each other.

use std::collections::HashSet;

use llmd_kvxfer::Outcome;

use crate::between::{Between, NEVER};
use crate::certificates::Authority;
use crate::pair::{Lender, Reader, Shape, until};

/// More than connections hold on their way.
const LARGE: Shape = Shape(24, 1 << 20);
const SMALL: Shape = Shape(64, 8 << 10);

#[test]
fn what_is_large_and_what_is_tiny_arrives() {
    let tls = Authority::new().agent();
    for shape in [
        Shape(64, 1 << 20),
        SMALL,
        Shape(1, 16),
        Shape(1, 1),
        Shape(1000, 24),
        Shape(3, 16 << 10),
        Shape(1, (5 << 20) + 8),
    ] {
        let (lender, reader) = (Lender::new(Some(tls.clone()), shape), Reader::new(Some(tls.clone()), shape));
        (0..3).for_each(|_| reader.fetches_all(&lender));
    }
}

#[test]
fn a_name_that_all_share_stands_for_their_addresses() {
    let authority = Authority::new();
    let tls = || authority.papers("agents.llmd").trusting(&authority).server_name("agents.llmd").unwrap();
    Reader::new(Some(tls()), SMALL).fetches_all(&Lender::new(Some(tls()), SMALL));
}

#[test]
fn nobody_who_reads_along_reads_a_block() {
    let tls = Authority::new().agent();
    // Without TLS they would be found: the search is not for the wrong thing.
    for tls in [None, Some(tls)] {
        let between = Between::new();
        let is_plain = tls.is_none();
        let lender = Lender::behind(&between, tls.clone(), SMALL);
        Reader::new(tls, SMALL).fetches_all(&lender);
        let seen = between.turn(|fate| std::mem::take(&mut fate.seen)).concat();
        assert!(seen.len() > (SMALL.0 * SMALL.1) as usize, "all went by");
        let begin: HashSet<&[u8]> = seen.windows(4).collect();
        let is_there =
            |part: &[u8]| begin.contains(&part[..4]) && seen.windows(part.len()).any(|window| window == part);
        for block in 0..SMALL.0 {
            assert_eq!(is_there(&SMALL.content(block)[1000..1032]), is_plain, "block {block}");
        }
        for said in [&b"acme"[..], b"LKVh", b"lender", b"reader"] {
            assert_eq!(is_there(said), is_plain, "{}", String::from_utf8_lossy(said));
        }
    }
}

#[test]
fn a_session_that_is_cut_is_lost_and_made_again() {
    let tls = Authority::new().agent();
    for cut in [0, 500, 100_000, 3 << 20] {
        let between = Between::new();
        let lender = Lender::behind(&between, Some(tls.clone()), LARGE);
        between.turn(|fate| fate.cut = cut);
        let reader = Reader::new(Some(tls.clone()), LARGE);
        let fetched = reader.fetch(&lender);
        assert_eq!(fetched.outcome, Outcome::PeerLost, "after {cut} bytes: {:?}", fetched.why);
        assert!(!fetched.blocks.is_all());
        between.turn(|fate| fate.cut = NEVER);
        until("it is reached again", || lender.agent.stats().peers == 0);
        std::thread::sleep(crate::SECOND / 5);
        reader.fetches_all(&lender);
    }
}

#[test]
fn a_bit_that_is_turned_on_its_way_ends_the_session() {
    let tls = Authority::new().agent();
    for flip in [300, 100_000, 5 << 20] {
        let between = Between::new();
        let lender = Lender::behind(&between, Some(tls.clone()), LARGE);
        between.turn(|fate| fate.flip = flip);
        let fetched = Reader::new(Some(tls.clone()), LARGE).fetch(&lender);
        assert_eq!(fetched.outcome, Outcome::PeerLost, "at {flip}: {:?}", fetched.why);
        assert!(!fetched.blocks.is_all());
    }
}

#[test]
fn one_that_takes_nothing_holds_nobody_up_and_goes_on_later() {
    let tls = Authority::new().agent();
    let between = Between::new();
    let lender = Lender::behind(&between, Some(tls.clone()), LARGE);
    let (slow, quick) = (Reader::new(Some(tls.clone()), LARGE), Reader::new(Some(tls), LARGE));
    between.turn(|fate| fate.hold = 3 << 20);
    let op = slow.begin(&lender);
    until("it has some", || lender.agent.stats().served_bytes > 1 << 20);
    between.turn(|fate| fate.held = fate.seen.len());
    quick.fetches_all(&lender);
    between.turn(|fate| fate.hold = NEVER);
    let fetched = slow.end(op);
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
}
