//! What an agent proves itself with to others, and whom it trusts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::session::Session;

/// TLS 1.3 between agents, both of which prove by a certificate who they are: an agent's chain and private key, and the roots that
/// it trusts.
///
/// An agent that has it speaks with nobody who has not. Every peer's certificate must be signed by one of the roots, be of use for
/// clients and for servers, and name the address that the peer is reached at, or comes from; or, once one is
/// [said](Self::server_name), a name that all agents share. It is read once: an agent whose certificate changes is built anew.
///
/// ```no_run
/// use llmd_kvxfer::{Agent, Tcp, Tls};
///
/// let [chain, key, roots] = ["agent.pem", "agent.key", "roots.pem"].map(|name| std::fs::read(name).unwrap());
/// let tcp = Tcp::bind("10.0.0.7:7777")?.tls(Tls::new(&chain, &key, &roots)?);
/// let agent = Agent::builder("decode-0").tenant("acme", b"secret").transport(tcp).build()?;
/// # Ok::<(), llmd_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    connecting: Arc<ClientConfig>,
    listening: Arc<ServerConfig>,
    /// That of every peer; `None` where it is the peer's address.
    name: Option<ServerName<'static>>,
}

impl Tls {
    /// Of a certificate chain, the agent's own first, its private key, and the certificates that are trusted, each as PEM.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when one of them is missing or cannot be read, or the key is not the certificate's.
    pub fn new(chain: &[u8], key: &[u8], roots: &[u8]) -> Result<Self> {
        let chain = certificates("the chain", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|cause| invalid("the private key, expected one as PEM", cause))?;
        let mut trusted = RootCertStore::empty();
        for root in certificates("the roots", roots)? {
            trusted.add(root).map_err(|cause| invalid("a root, expected the certificate of an authority", cause))?;
        }
        let trusted = Arc::new(trusted);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unfit = |cause| invalid("the chain and the private key, expected those of one agent", cause);

        let mut connecting = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|cause| invalid("TLS 1.3", cause))?
            .with_root_certificates(Arc::clone(&trusted))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(unfit)?;
        connecting.resumption = Resumption::disabled();

        let clients = WebPkiClientVerifier::builder_with_provider(trusted, Arc::clone(&provider)).build();
        let mut listening = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|cause| invalid("TLS 1.3", cause))?
            .with_client_cert_verifier(clients.map_err(|cause| invalid("the roots", cause))?)
            .with_single_cert(chain, key)
            .map_err(unfit)?;
        listening.send_tls13_tickets = 0;
        listening.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { connecting: Arc::new(connecting), listening: Arc::new(listening), name: None })
    }

    /// Every peer has this name in its certificate, such as `llmd`, and not the address that it is reached at.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when that is no DNS name.
    pub fn server_name(mut self, name: &str) -> Result<Self> {
        let parsed = ServerName::try_from(name.to_owned()).ok().filter(|name| matches!(name, ServerName::DnsName(_)));
        let invalid =
            || Error::new(ErrorKind::Invalid, format!("`{name}` as the name of all agents, expected a DNS name"));
        self.name = Some(parsed.ok_or_else(invalid)?);
        Ok(self)
    }

    /// A session with an agent there.
    pub(super) fn connecting(&self, to: SocketAddr) -> Result<Session> {
        let connection = ClientConnection::new(Arc::clone(&self.connecting), self.name_of(to.ip()));
        connection.map(Session::connecting).map_err(begun)
    }

    /// A session with whoever comes from there.
    pub(super) fn listening(&self, from: SocketAddr) -> Result<Session> {
        let connection = ServerConnection::new(Arc::clone(&self.listening));
        connection.map(|connection| Session::listening(connection, self.name_of(from.ip()))).map_err(begun)
    }

    fn name_of(&self, peer: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::from(peer.to_canonical()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|cause| invalid(&format!("{what}, expected certificates as PEM"), cause))?;
    if read.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, format!("{what} without a certificate, expected one at least")));
    }
    Ok(read)
}

fn invalid(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what}: {cause}")).with_source(cause)
}

fn begun(cause: rustls::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("a TLS session: {cause}")).with_source(cause)
}
