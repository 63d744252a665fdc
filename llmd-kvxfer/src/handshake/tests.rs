use super::*;

fn identity(byte: u8, name: &str) -> Identity {
    Identity { agent: AgentId::from_bytes([byte; 16]), name: name.into() }
}

fn keys(key: Option<&[u8]>) -> Keys {
    let mut keys = Keys::default();
    keys.add("acme", key);
    keys
}

/// Both sides' last word.
fn shake(connecting: &Keys, listening: &Keys) -> (Result<Identity>, Result<(Identity, String)>) {
    let (decode, prefill) = (identity(1, "decode-0"), identity(2, "prefill-0"));
    let (side, hello) = Connecting::new(&decode, "acme", connecting).unwrap();
    match Listening::on_hello(&prefill, listening, &hello, &[]) {
        Err((error, refused)) => (side.on_answer(&refused, &[]).map(|(who, _)| who), Err(error)),
        Ok((other, welcome)) => match side.on_answer(&welcome, &[]) {
            Ok((who, proof)) => (Ok(who), other.on_proof(&proof)),
            Err(error) => (Err(error), Err(Error::new(ErrorKind::Unavailable, "hung up"))),
        },
    }
}

#[test]
fn two_who_have_the_same_key_know_each_other() {
    for key in [None, Some(&b"secret"[..])] {
        let (connecting, listening) = shake(&keys(key), &keys(key));
        assert_eq!(connecting.unwrap(), identity(2, "prefill-0"));
        assert_eq!(listening.unwrap(), (identity(1, "decode-0"), "acme".into()));
    }
}

#[test]
fn who_has_another_key_or_none_is_denied() {
    let (secret, wrong) = (Some(&b"secret"[..]), Some(&b"wrong"[..]));
    for (one, other) in [(None, secret), (wrong, secret), (secret, None)] {
        let (connecting, _) = shake(&keys(one), &keys(other));
        let denied = connecting.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::Denied);
        assert_eq!(denied.to_string(), "the peer did not prove that it has the key of tenant `acme`");
    }
    let (connecting, listening) = shake(&keys(None), &Keys::default());
    assert_eq!(connecting.unwrap_err().to_string(), "the peer refused: tenant `acme` is not served here");
    assert_eq!(listening.unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn a_proof_of_another_handshake_proves_nothing() {
    let (decode, prefill, keys) = (identity(1, "d"), identity(2, "p"), keys(Some(b"secret")));
    let (one, hello) = Connecting::new(&decode, "acme", &keys).unwrap();
    let (_, welcome) = Listening::on_hello(&prefill, &keys, &hello, &[]).unwrap();
    let (_, proof) = one.on_answer(&welcome, &[]).unwrap();
    let (again, _) = Listening::on_hello(&prefill, &keys, &hello, &[]).unwrap();
    assert_eq!(again.on_proof(&proof).unwrap_err().kind(), ErrorKind::Denied);
    // Nor does a welcome that is sent back as a proof.
    let (again, welcome) = Listening::on_hello(&prefill, &keys, &hello, &[]).unwrap();
    let echoed = Proof { proof: Welcome::decode(&welcome).unwrap().proof }.encode();
    assert_eq!(again.on_proof(&echoed).unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn a_proof_that_was_passed_on_to_another_connection_proves_nothing() {
    let (decode, prefill, secret) = (identity(1, "d"), identity(2, "p"), keys(Some(b"secret")));
    let shaken = |listening: &[u8], connecting: &[u8]| {
        let (one, hello) = Connecting::new(&decode, "acme", &secret).unwrap();
        let (other, welcome) = Listening::on_hello(&prefill, &secret, &hello, listening).unwrap();
        let (_, proof) = one.on_answer(&welcome, connecting)?;
        other.on_proof(&proof)
    };
    shaken(b"this one's", b"this one's").unwrap();
    for (listening, connecting) in [(&b"this one's"[..], &b"another's "[..]), (b"", b"another's"), (b"this one's", b"")]
    {
        assert_eq!(shaken(listening, connecting).unwrap_err().kind(), ErrorKind::Denied);
    }
}

#[test]
fn a_peer_of_other_versions_is_refused_by_name() {
    let hello = |versions| {
        let (agent, nonce) = (AgentId::from_bytes([1; 16]), [0; 16]);
        Hello { versions, agent, name: "d".into(), tenant: "acme".into(), nonce }.encode()
    };
    let (me, keys) = (identity(2, "p"), keys(None));
    let (error, refused) = Listening::on_hello(&me, &keys, &hello((2, 3)), &[]).unwrap_err();
    assert_eq!(error.to_string(), "a peer that speaks versions 2 to 3, expected one of 1 to 1");
    let refused = Refused::decode(&refused).unwrap().unwrap();
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    assert!(Listening::on_hello(&me, &keys, &hello((0, 0)), &[]).is_err());
    let (_, welcome) = Listening::on_hello(&me, &keys, &hello((1, 9)), &[]).unwrap();
    assert_eq!(Welcome::decode(&welcome).unwrap().version, 1);
    // One that is newer may say more after the versions: it is still refused by name.
    let mut newer = hello((2, 3));
    newer.truncate(7);
    newer.extend([9; 40]);
    assert_eq!(Listening::on_hello(&me, &keys, &newer, &[]).unwrap_err().0.kind(), ErrorKind::Unsupported);
}

/// Bytes of each version are kept: one that is changed by accident is found here, not in a fleet that is half upgraded.
#[test]
fn the_bytes_of_version_1_stay_as_they_are() {
    let (agent, nonce) = (AgentId::from_bytes([0x11; 16]), [0x22; 16]);
    let hello = Hello { versions: (1, 1), agent, name: "decode-0".into(), tenant: "acme".into(), nonce };
    let welcome = Welcome { version: 1, agent, name: "prefill-0".into(), nonce, proof: Some([0x33; 32]) };
    let refused = Refused { kind: ErrorKind::Denied, why: "no".into() };
    let proof = Proof { proof: Some([0x44; 32]) };
    let golden = [
        (hello.encode(), "hello"),
        (welcome.encode(), "welcome"),
        (refused.encode(), "refused"),
        (proof.encode(), "proof"),
    ];
    for (bytes, name) in golden {
        let path = format!("{}/tests/golden/handshake-1/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        expect_test::expect_file![path].assert_eq(&format!("{hex}\n"));
    }
    assert_eq!(Hello::decode(&hello.encode()).unwrap(), hello);
    assert_eq!(Welcome::decode(&welcome.encode()).unwrap(), welcome);
    assert_eq!(Refused::decode(&refused.encode()).unwrap().unwrap(), refused);
    assert_eq!(Proof::decode(&proof.encode()).unwrap(), proof);
}

#[test]
fn bytes_that_are_none_are_refused_and_never_a_panic() {
    let (agent, nonce) = (AgentId::from_bytes([0x11; 16]), [0x22; 16]);
    let hello = Hello { versions: (1, 1), agent, name: "d".into(), tenant: "acme".into(), nonce }.encode();
    let (me, keys) = (identity(2, "p"), keys(None));
    for end in 0..hello.len() {
        let (error, _) = Listening::on_hello(&me, &keys, &hello[..end], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    assert!(Welcome::decode(&hello).is_err() && Proof::decode(&hello).is_err());
}
