//! The messages of a handshake, as bytes.

use llmd_core::{Error, ErrorKind, Result};

use crate::grant::AgentId;
use crate::wire::{Reader, Writer};

const MAX_NAME: usize = 128;
const MAX_TENANT: usize = 128;
const MAX_REASON: usize = 512;

/// What all begin with, in all versions.
const MAGIC: [u8; 4] = *b"LKVh";
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const PROOF: u8 = 4;

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Hello {
    pub(crate) versions: (u8, u8),
    pub(crate) agent: AgentId,
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) nonce: [u8; 16],
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = begin(HELLO);
        writer.byte(self.versions.0);
        writer.byte(self.versions.1);
        writer.raw(&self.agent.to_bytes());
        writer.text(cut(&self.name, MAX_NAME));
        writer.text(cut(&self.tenant, MAX_TENANT));
        writer.raw(&self.nonce);
        writer.into_bytes()
    }

    /// The part of it that stays as it is in all versions.
    pub(crate) fn versions_of(bytes: &[u8]) -> Result<(u8, u8)> {
        let mut reader = expect(HELLO, "hello", bytes)?;
        Ok((reader.byte("oldest version")?, reader.byte("newest version")?))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = expect(HELLO, "hello", bytes)?;
        let versions = (reader.byte("oldest version")?, reader.byte("newest version")?);
        let agent = AgentId::from_bytes(reader.array("agent")?);
        let name = reader.text("name", MAX_NAME)?.to_owned();
        let tenant = reader.text("tenant", MAX_TENANT)?.to_owned();
        let nonce = reader.array("nonce")?;
        reader.end()?;
        Ok(Self { versions, agent, name, tenant, nonce })
    }
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Welcome {
    pub(crate) version: u8,
    pub(crate) agent: AgentId,
    pub(crate) name: String,
    pub(crate) nonce: [u8; 16],
    pub(crate) proof: Option<[u8; 32]>,
}

impl Welcome {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.without_proof();
        encode_proof(&mut bytes, self.proof);
        bytes
    }

    pub(crate) fn without_proof(&self) -> Vec<u8> {
        let mut writer = begin(WELCOME);
        writer.byte(self.version);
        writer.raw(&self.agent.to_bytes());
        writer.text(cut(&self.name, MAX_NAME));
        writer.raw(&self.nonce);
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = expect(WELCOME, "welcome", bytes)?;
        let version = reader.byte("version")?;
        let agent = AgentId::from_bytes(reader.array("agent")?);
        let name = reader.text("name", MAX_NAME)?.to_owned();
        let nonce = reader.array("nonce")?;
        let proof = decode_proof(&mut reader)?;
        reader.end()?;
        Ok(Self { version, agent, name, nonce, proof })
    }
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) kind: ErrorKind,
    pub(crate) why: String,
}

impl Refused {
    pub(crate) fn of(error: &Error) -> Self {
        Self { kind: error.kind(), why: error.to_string() }
    }

    pub(crate) fn into_error(self) -> Error {
        Error::new(self.kind, format!("the peer refused: {}", self.why))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = begin(REFUSED);
        let kind = ErrorKind::ALL.iter().position(|&kind| kind == self.kind).unwrap_or_default();
        writer.number(kind as u64);
        writer.text(cut(&self.why, MAX_REASON));
        writer.into_bytes()
    }

    /// `None` for another message.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        let Ok(mut reader) = expect(REFUSED, "refusal", bytes) else { return Ok(None) };
        let kind = reader.at_most("kind", ErrorKind::ALL.len() as u64 - 1)? as usize;
        let why = reader.text("why", MAX_REASON)?.to_owned();
        reader.end()?;
        Ok(Some(Self { kind: ErrorKind::ALL[kind], why }))
    }
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Proof {
    pub(crate) proof: Option<[u8; 32]>,
}

impl Proof {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = begin(PROOF).into_bytes();
        encode_proof(&mut bytes, self.proof);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = expect(PROOF, "proof", bytes)?;
        let proof = decode_proof(&mut reader)?;
        reader.end()?;
        Ok(Self { proof })
    }
}

fn begin(kind: u8) -> Writer {
    let mut writer = Writer::default();
    writer.raw(&MAGIC);
    writer.byte(kind);
    writer
}

fn expect<'a>(kind: u8, what: &'static str, bytes: &'a [u8]) -> Result<Reader<'a>> {
    let mut reader = Reader::new(what, bytes);
    if reader.array("magic")? != MAGIC {
        return Err(reader.wrong("magic", format_args!("is not llmd's")));
    }
    match reader.byte("message")? {
        there if there == kind => Ok(reader),
        there => Err(reader.wrong("message", format_args!("is of kind {there}, expected {kind}"))),
    }
}

fn encode_proof(bytes: &mut Vec<u8>, proof: Option<[u8; 32]>) {
    bytes.push(proof.is_some().into());
    bytes.extend(proof.iter().flatten());
}

fn decode_proof(reader: &mut Reader<'_>) -> Result<Option<[u8; 32]>> {
    Ok(match reader.at_most("proof", 1)? {
        0 => None,
        _ => Some(reader.array("proof")?),
    })
}

/// As much of a text as may be sent.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=text.len().min(most)).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}
