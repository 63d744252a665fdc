//! One in the middle who has a certificate that both trust, and no key of the tenant.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use llmd_kvxfer::Outcome;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::between::Between;
use crate::certificates::{Authority, Papers};
use crate::pair::{Lender, Reader, Shape};

/// Passes what is said from one session to another: the hello, the welcome, and what may come then.
struct Relay {
    listening: Arc<ServerConfig>,
    connecting: Arc<ClientConfig>,
}

impl Relay {
    fn new(papers: &Papers, authority: &Authority) -> Self {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(papers.chain.as_bytes()).map(Result::unwrap).collect();
        let key = || PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = &[&rustls::version::TLS13];
        let listening = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key())
            .unwrap();
        let connecting = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key())
            .unwrap();
        Self { listening: Arc::new(listening), connecting: Arc::new(connecting) }
    }

    /// How many messages it brought from one side to the other.
    fn pass(&self, reader: TcpStream, lender: TcpStream) -> usize {
        let reader_session = ServerConnection::new(Arc::clone(&self.listening)).unwrap();
        let mut reader = StreamOwned::new(reader_session, reader);
        let there = ServerName::try_from("127.0.0.1").unwrap();
        let lender_session = ClientConnection::new(Arc::clone(&self.connecting), there).unwrap();
        let mut lender = StreamOwned::new(lender_session, lender);
        let mut bytes = vec![0; 4096];
        for passed in 0..16 {
            let read = if passed % 2 == 0 { reader.read(&mut bytes) } else { lender.read(&mut bytes) };
            let Ok(count @ 1..) = read else { return passed };
            let said =
                if passed % 2 == 0 { lender.write_all(&bytes[..count]) } else { reader.write_all(&bytes[..count]) };
            if said.is_err() {
                return passed;
            }
        }
        16
    }
}

#[test]
fn a_handshake_that_is_passed_on_proves_nothing() {
    const SHAPE: Shape = Shape(4, 4096);
    let ours = Authority::new();
    let relay = Relay::new(&ours.papers("127.0.0.1"), &ours);
    let middle = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = Between::new();
    let lender = Lender::behind(&between, Some(ours.agent()), SHAPE);
    let there = between.turn(|fate| std::mem::replace(&mut fate.to, middle.local_addr().unwrap()));
    let relayed = std::thread::spawn(move || {
        let (reader, _) = middle.accept().unwrap();
        relay.pass(reader, TcpStream::connect(there).unwrap())
    });
    let fetched = Reader::new(Some(ours.agent()), SHAPE).fetch(&lender);
    assert_eq!(fetched.outcome, Outcome::Denied, "{:?}", fetched.why);
    let why = fetched.why.unwrap();
    assert!(why.contains("the peer did not prove that it has the key of tenant `acme`"), "{why}");
    assert_eq!(relayed.join().unwrap(), 2, "the hello and the welcome");
}
