//! Pulling KV from a peer's CPU tier, through vLLM's offloading connector.

use llmd_core::{Error, ErrorKind, Result};

use super::KvSource;
use super::address::Address;
use super::body::Body;

/// Where peers serve their CPU tiers: the port of rank 0, and of rank r the r-th after it. llm-d's `--p2p-connector-port`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct P2p {
    port: u16,
    /// The port at which rank 0 serves requests, and how many ranks there are.
    ranks: Option<(u16, u16)>,
}

impl P2p {
    /// llm-d's default.
    pub const PORT: u16 = 7777;

    /// Peers of one rank, at this port.
    pub const fn at(port: u16) -> Self {
        Self { port, ranks: None }
    }

    /// The same, where `size` ranks of a machine serve requests at the ports from `first` on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there are not that many ports after either.
    pub fn with_ranks(self, first: u16, size: u16) -> Result<Self> {
        for port in [self.port, first] {
            if port.checked_add(size.saturating_sub(1)).is_none() {
                let message = format!("{size} ranks from port {port} on: expected ports up to 65535");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        Ok(Self { ranks: (size > 1).then_some((first, size)), ..self })
    }

    /// Where the peer at this address serves its CPU tier. Rank 0's port when the address has none of a rank's.
    pub(super) fn port_of(&self, peer: Address<'_>) -> u16 {
        let rank = self.ranks.and_then(|(first, size)| {
            let rank = peer.port?.checked_sub(first)?;
            (rank < size).then_some(rank)
        });
        self.port + rank.unwrap_or(0)
    }

    /// The peer that a pull reads from, as engines are told.
    pub(super) fn peer(&self, kv_request_id: &str, peer: Address<'_>) -> Body<'static> {
        Body::default()
            .with("kv_request_id", kv_request_id)
            .with("remote_host", peer.host)
            .with("remote_port", self.port_of(peer))
    }

    /// What makes the engine at `own` pull from `source`. `None` when that is itself.
    pub(super) fn params(&self, source: KvSource<'_>, own: Address<'_>) -> Option<Body<'static>> {
        let peer = Address::of(source.endpoint);
        (peer != own && !peer.host.is_empty())
            .then(|| Body::default().with_object("remote_kv_source", &self.peer(source.kv_request_id, peer)))
    }
}

impl Default for P2p {
    fn default() -> Self {
        Self::at(Self::PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_serves_its_tier_as_far_after_the_first_as_it_serves_requests() {
        let p2p = P2p::default().with_ranks(8000, 4).unwrap();
        let table = [("h:8000", 7777), ("h:8003", 7780), ("h:8004", 7777), ("h:7999", 7777), ("h", 7777)];
        for (peer, port) in table {
            assert_eq!(p2p.port_of(Address::of(peer)), port, "{peer}");
            assert_eq!(P2p::default().port_of(Address::of(peer)), 7777);
        }
    }

    #[test]
    fn ranks_need_a_port_each() {
        assert_eq!(P2p::at(65534).with_ranks(8000, 2).unwrap().port_of(Address::of("h:8001")), 65535);
        let error = P2p::at(65534).with_ranks(8000, 3).unwrap_err();
        assert_eq!(error.to_string(), "3 ranks from port 65534 on: expected ports up to 65535");
    }

    #[test]
    fn nobody_pulls_from_itself() {
        let pull = |source, own| P2p::default().params(KvSource::new(source, "id"), Address::of(own));
        assert!(pull("http://[::1]:8000", "[::1]:8000").is_none());
        assert!(pull("", "h:8000").is_none());
        assert_eq!(
            pull("h:8001", "h:8000").unwrap().to_json(),
            r#"{"remote_kv_source":{"kv_request_id":"id","remote_host":"h","remote_port":7777}}"#
        );
    }
}
