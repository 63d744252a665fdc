//! How two agents learn who the other is, and that it may be there.
//!
//! ```text
//! connecting ── Hello: versions, who, for which tenant, a nonce ─▶ listening
//!            ◀─ Welcome: the version, who, a nonce, a proof ────── or Refused, and why
//!            ── Proof ───────────────────────────────────────────▶
//! ```
//!
//! A proof is a keyed hash (HMAC-SHA-256) of what both said, under the tenant's key; where no key is set, neither proves anything,
//! and who may connect is the socket's matter. Where the connection is encrypted, what only its two ends can know of it is hashed
//! too: a proof that somebody in between passes on to another connection proves nothing there. Every first message begins with the same bytes and the versions that its sender
//! speaks, in all versions that will ever be, so that an older and a newer peer refuse each other by name.

mod message;
mod proof;
mod signed;

use std::collections::BTreeMap;
use std::fmt;

use llmd_core::{Error, ErrorKind, Result};

pub(crate) use self::message::{Hello, Proof, Refused, Welcome};
use self::proof::{Side, prove};
pub(crate) use self::signed::{SIGNATURE, Signed};
use crate::grant::AgentId;

/// The versions of the protocol that are spoken here, the oldest and the newest.
pub(crate) const VERSIONS: (u8, u8) = (1, 1);

/// Who an agent says it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) agent: AgentId,
    pub(crate) name: String,
}

/// Which tenants may connect, and the key by which each proves that it is the one; no key where the socket's own protection is
/// enough.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    of_tenant: BTreeMap<String, Option<Vec<u8>>>,
}

impl Keys {
    pub(crate) fn add(&mut self, tenant: &str, key: Option<&[u8]>) {
        self.of_tenant.insert(tenant.to_owned(), key.map(<[u8]>::to_vec));
    }

    fn key(&self, tenant: &str) -> Result<Option<&[u8]>> {
        let key = self.of_tenant.get(tenant);
        let key = key.ok_or_else(|| Error::new(ErrorKind::Denied, format!("tenant `{tenant}` is not served here")))?;
        Ok(key.as_deref())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.of_tenant.keys()).finish()
    }
}

/// The side that connects, after its Hello.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    hello: Vec<u8>,
    tenant: String,
    keys: Keys,
}

impl Connecting {
    /// Begins, and gives the Hello to be sent.
    pub(crate) fn new(me: &Identity, tenant: &str, keys: &Keys) -> Result<(Self, Vec<u8>)> {
        keys.key(tenant)?;
        let nonce = nonce()?;
        let hello = Hello { versions: VERSIONS, agent: me.agent, name: me.name.clone(), tenant: tenant.into(), nonce };
        let hello = hello.encode();
        Ok((Self { hello: hello.clone(), tenant: tenant.into(), keys: keys.clone() }, hello))
    }

    /// Takes the answer: who is there, and the proof to be sent. `binding` is what only the ends of this connection can know; it is
    /// empty where nothing is encrypted.
    pub(crate) fn on_answer(self, bytes: &[u8], binding: &[u8]) -> Result<(Identity, Vec<u8>)> {
        if let Some(refused) = Refused::decode(bytes)? {
            return Err(refused.into_error());
        }
        let welcome = Welcome::decode(bytes)?;
        if !(VERSIONS.0..=VERSIONS.1).contains(&welcome.version) {
            let message = format!("the peer chose version {}, expected {VERSIONS:?}", welcome.version);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let key = self.keys.key(&self.tenant)?;
        let said = [&self.hello[..], &welcome.without_proof(), binding].concat();
        if welcome.proof != prove(key, Side::Listening, &said) {
            let message = format!("the peer did not prove that it has the key of tenant `{}`", self.tenant);
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let proof = Proof { proof: prove(key, Side::Connecting, &said) };
        Ok((Identity { agent: welcome.agent, name: welcome.name }, proof.encode()))
    }
}

impl Connecting {
    /// What signs all that is said after the proof, when this is the answer.
    pub(crate) fn signed(&self, answer: &[u8]) -> Result<Signed> {
        let said = [&self.hello[..], &Welcome::decode(answer)?.without_proof()].concat();
        Ok(Signed::new(self.keys.key(&self.tenant)?, Side::Connecting, &said))
    }
}

/// The side that listens, after a Hello.
#[derive(Debug)]
pub(crate) struct Listening {
    who: Identity,
    tenant: String,
    expected: Option<[u8; 32]>,
    signed: Signed,
}

impl Listening {
    /// Takes a Hello, and gives the answer to be sent. When the peer is refused, that is the answer too, and the error says why.
    /// `binding` is what only the ends of this connection can know; it is empty where nothing is encrypted.
    pub(crate) fn on_hello(
        me: &Identity,
        keys: &Keys,
        bytes: &[u8],
        binding: &[u8],
    ) -> Result<(Self, Vec<u8>), (Error, Vec<u8>)> {
        Self::welcome(me, keys, bytes, binding).map_err(|error| {
            let refused = Refused::of(&error).encode();
            (error, refused)
        })
    }

    /// What signs all that is said after the proof.
    pub(crate) fn signed(&self) -> Signed {
        self.signed.clone()
    }

    /// Takes the proof: who is there, and for which tenant.
    pub(crate) fn on_proof(self, bytes: &[u8]) -> Result<(Identity, String)> {
        let given = Proof::decode(bytes)?.proof;
        if given != self.expected {
            let message =
                format!("agent {} did not prove that it has the key of tenant `{}`", self.who.agent, self.tenant);
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Ok((self.who, self.tenant))
    }

    fn welcome(me: &Identity, keys: &Keys, bytes: &[u8], binding: &[u8]) -> Result<(Self, Vec<u8>)> {
        let (oldest, newest) = Hello::versions_of(bytes)?;
        let version = newest.min(VERSIONS.1);
        if version < oldest.max(VERSIONS.0) {
            let message = format!(
                "a peer that speaks versions {oldest} to {newest}, expected one of {} to {}",
                VERSIONS.0, VERSIONS.1
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let hello = Hello::decode(bytes)?;
        let key = keys.key(&hello.tenant)?;
        let mut welcome = Welcome { version, agent: me.agent, name: me.name.clone(), nonce: nonce()?, proof: None };
        let said = [bytes, &welcome.without_proof(), binding].concat();
        welcome.proof = prove(key, Side::Listening, &said);
        let expected = prove(key, Side::Connecting, &said);
        let who = Identity { agent: hello.agent, name: hello.name };
        let signed = Signed::new(key, Side::Listening, &said);
        let listening = Self { who, tenant: hello.tenant, expected, signed };
        Ok((listening, welcome.encode()))
    }
}

fn nonce() -> Result<[u8; 16]> {
    Ok(AgentId::random()?.to_bytes())
}

#[cfg(test)]
mod tests;
