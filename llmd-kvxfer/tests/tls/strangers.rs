//! Those who may not: each is told why, soon, and those who may are served on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use llmd_kvxfer::{Outcome, Tls};

use crate::SECOND;
use crate::between::Between;
use crate::certificates::Authority;
use crate::pair::{Lender, Reader, Shape, until};

const SHAPE: Shape = Shape(4, 4096);

/// A reader that is not let in is told so in these words, and its bytes come to nobody.
fn refused(lender: &Lender, tls: Option<Tls>, words: &str) {
    let fetched = Reader::new(tls, SHAPE).fetch(lender);
    let why = fetched.why.unwrap_or_default();
    assert_eq!(fetched.outcome, Outcome::Denied, "{words}: {why}");
    assert!(why.contains(words), "{why}, expected {words}");
    assert!(fetched.took < 2 * SECOND, "{words}: {:?}", fetched.took);
    assert_eq!(fetched.blocks.count(), 0);
}

#[test]
fn a_lender_that_is_not_trusted_is_left() {
    let (ours, other, forged) = (Authority::new(), Authority::named("others"), Authority::named("ours"));
    for (papers, words) in [
        (other.papers("127.0.0.1"), "a certificate that is not to be trusted: UnknownIssuer"),
        (forged.papers("127.0.0.1"), "a certificate that is not to be trusted: BadSignature"),
        (ours.expired("127.0.0.1"), "a certificate that is not to be trusted: certificate expired"),
        (ours.papers("10.0.0.9"), "not valid for name \"127.0.0.1\"; certificate is only valid for"),
        (ours.papers("llmd"), "not valid for name \"127.0.0.1\"; certificate is only valid for"),
    ] {
        let lender = Lender::new(Some(papers.trusting(&ours)), SHAPE);
        refused(&lender, Some(ours.agent()), words);
        until("it is counted", || lender.agent.stats().refused_peers > 0);
    }
}

#[test]
fn a_reader_that_is_not_trusted_is_refused_and_others_are_served() {
    let (ours, other, forged) = (Authority::new(), Authority::named("others"), Authority::named("ours"));
    let lender = Lender::new(Some(ours.agent()), SHAPE);
    let honest = Reader::new(Some(ours.agent()), SHAPE);
    for (papers, words) in [
        (other.papers("127.0.0.1"), "the peer does not trust this agent's certificate: UnknownCA"),
        (forged.papers("127.0.0.1"), "the peer does not trust this agent's certificate: DecryptError"),
        (ours.expired("127.0.0.1"), "the peer does not trust this agent's certificate: CertificateExpired"),
        (ours.papers("10.0.0.9"), "the peer refused: a certificate that is not to be trusted: certificate not valid"),
    ] {
        let before = lender.agent.stats().refused_peers;
        refused(&lender, Some(papers.trusting(&ours)), words);
        until("it is counted", || lender.agent.stats().refused_peers > before);
        honest.fetches_all(&lender);
    }
    assert_eq!(lender.agent.stats().served_bytes, 4 * 4 * 4096, "and nobody else");
}

#[test]
fn a_name_that_all_share_is_asked_of_both_sides() {
    let ours = Authority::new();
    let named = |name: &str| ours.papers(name).trusting(&ours).server_name("llmd").unwrap();
    let lender = Lender::new(Some(named("llmd")), SHAPE);
    refused(&lender, Some(named("others")), "the peer refused: a certificate that is not to be trusted");
    let lender = Lender::new(Some(named("127.0.0.1")), SHAPE);
    refused(&lender, Some(named("llmd")), "not valid for name \"llmd\"");
}

#[test]
fn one_that_speaks_tls_and_one_that_does_not_refuse_each_other() {
    let ours = Authority::new();
    let (guarded, plain) = (Lender::new(Some(ours.agent()), SHAPE), Lender::new(None, SHAPE));
    refused(&guarded, None, "the peer refused: a peer that speaks no TLS, expected TLS 1.3");
    refused(&plain, Some(ours.agent()), "a peer that speaks no TLS, expected TLS 1.3");
    for lender in [&guarded, &plain] {
        until("it is counted", || lender.agent.stats().refused_peers > 0);
    }
    Reader::new(Some(ours.agent()), SHAPE).fetches_all(&guarded);
    Reader::new(None, SHAPE).fetches_all(&plain);
    assert_eq!(plain.agent.stats().malformed_messages + guarded.agent.stats().malformed_messages, 0);
}

#[test]
fn nonsense_is_hung_up_on() {
    let ours = Authority::new();
    let lender = Lender::new(Some(ours.agent()), SHAPE);
    let address = lender.grant.address("tcp").unwrap();
    let nonsense: [&[u8]; 4] =
        [&[22, 3, 1, 0, 4, 1, 2, 3, 4], &[22, 3, 3, 255, 255, 0], b"GET / HTTP/1.1\r\n\r\n", &[21, 3, 3, 0, 2, 2, 40]];
    for bytes in nonsense {
        let before = lender.agent.stats().refused_peers;
        let mut stranger = TcpStream::connect(address).unwrap();
        // One byte at first: nobody judges by it.
        stranger.write_all(&bytes[..1]).unwrap();
        std::thread::sleep(SECOND / 50);
        stranger.write_all(&bytes[1..]).unwrap();
        stranger.set_read_timeout(Some(5 * SECOND)).unwrap();
        let mut answer = Vec::new();
        // It may be cut off before it has read all.
        let _ended = stranger.read_to_end(&mut answer);
        assert!(answer.len() < 1024);
        until("it is counted", || lender.agent.stats().refused_peers > before);
    }
    Reader::new(Some(ours.agent()), SHAPE).fetches_all(&lender);
    until("the strangers are gone", || lender.agent.stats().peers == 0);
}

#[test]
fn one_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = Between::new();
    let tls = Authority::new().agent();
    let lender = Lender::behind(&between, Some(tls.clone()), SHAPE);
    between.turn(|fate| fate.to = silent.local_addr().unwrap());
    let fetched = Reader::new(Some(tls), SHAPE).fetch(&lender);
    assert_eq!(fetched.outcome, Outcome::PeerLost);
    assert!(fetched.why.as_ref().unwrap().contains("did not answer in 5s"), "{:?}", fetched.why);
    assert!(fetched.took < 7 * SECOND, "{:?}", fetched.took);
}

#[test]
fn what_makes_no_certificate_is_refused_by_name() {
    let ours = Authority::new();
    let (one, other) = (ours.papers("llmd"), ours.papers("llmd"));
    let said = |chain: &str, key: &str, roots: &str| {
        Tls::new(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(said("", &one.key, &ours.pem), "the chain without a certificate, expected one at least");
    assert_eq!(said(&one.chain, &one.key, "no PEM"), "the roots without a certificate, expected one at least");
    assert!(said(&one.chain, &one.chain, &ours.pem).starts_with("the private key, expected one as PEM: "));
    let mismatched = said(&one.chain, &other.key, &ours.pem);
    assert!(mismatched.starts_with("the chain and the private key, expected those of one agent: "), "{mismatched}");
    let named = |name: &str| one.trusting(&ours).server_name(name).map(|_| ()).unwrap_err().to_string();
    for name in ["", "10.0.0.7", "no name"] {
        assert_eq!(named(name), format!("`{name}` as the name of all agents, expected a DNS name"));
    }
    assert!(!format!("{:?}", one.trusting(&ours)).contains("key"), "keys are in no log");
}
