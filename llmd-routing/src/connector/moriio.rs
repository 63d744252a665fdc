//! MoRI-IO's write mode, a variant of `nixlv2`: the prefiller writes into the decoder's memory.

use llmd_core::protocol::{DO_REMOTE_DECODE, DO_REMOTE_PREFILL};
use llmd_core::{Error, ErrorKind, Result};

use super::Handover;
use super::address::Address;
use super::body::Body;
use super::nixlv2::asked;

/// MoRI-IO's write mode: what both engines must know of each other before the prefiller writes.
///
/// Rules: llm-d's `--moriio-*`, whose defaults these are, too.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MoriIo {
    /// Whether decode waits for prefill's response.
    pub dispatch: Dispatch,
    /// The decoders' side.
    pub decode: MoriIoSide,
    /// The prefillers' side.
    pub prefill: MoriIoSide,
    /// How many processors share a layer, 1 by default.
    pub tp_size: u32,
    /// How many data-parallel ranks there are, 1 by default.
    pub dp_size: u32,
    /// How many of the ranks are on one machine, when hosts are given.
    pub dp_size_local: Option<u32>,
}

/// What the other side must know of one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MoriIoSide {
    /// Where it is notified, 61005 by default.
    pub notify_port: u16,
    /// Where the other side shakes hands, 6301 by default.
    pub handshake_port: u16,
    /// Its machines, when its ranks are on several.
    pub hosts: Vec<String>,
}

/// Whether decode waits for prefill's response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Dispatch {
    /// Both are sent at once, and decode's response is held back: llm-d's `--moriio-parallel-dispatch`.
    Parallel,
    /// Decode is sent when prefill has answered.
    #[default]
    Serial,
}

impl Default for MoriIoSide {
    fn default() -> Self {
        Self { notify_port: 61005, handshake_port: 6301, hosts: Vec::new() }
    }
}

impl Default for MoriIo {
    fn default() -> Self {
        Self {
            dispatch: Dispatch::default(),
            decode: MoriIoSide::default(),
            prefill: MoriIoSide::default(),
            tp_size: 1,
            dp_size: 1,
            dp_size_local: None,
        }
    }
}

impl MoriIo {
    /// What a prefiller is asked: to write there.
    pub(super) fn asked(&self, handover: &Handover<'_>) -> Result<Body<'static>> {
        let mut params = asked().with("remote_host", handover.decoder()?.host);
        self.describe(&self.decode, &mut params, handover)?;
        Ok(params)
    }

    /// What a decoder is told that does not wait for the prefiller's answer. It finds blocks of its own, so that it is told of
    /// none.
    pub(super) fn foretold(&self, handover: &Handover<'_>) -> Result<Body<'static>> {
        let prefiller = Address::of(handover.prefiller).at(self.prefill.handshake_port);
        let mut params = Body::default()
            .with(DO_REMOTE_PREFILL, true)
            .with(DO_REMOTE_DECODE, false)
            .with("remote_engine_id", prefiller.to_string())
            .with("remote_block_ids", Vec::<u32>::new())
            .with("remote_host", prefiller.host)
            .with("remote_port", self.prefill.handshake_port);
        self.describe(&self.prefill, &mut params, handover)?;
        Ok(params)
    }

    /// What the prefiller has answered, completed by what it does not echo; and the rank that the decoder is sent to, which is
    /// the one that the prefiller says it ran on, if there is such a rank.
    pub(super) fn completed<'p>(&self, answer: Body<'p>, handover: &Handover<'_>) -> Result<(Body<'p>, Option<u32>)> {
        let answered = answer.number("remote_dp_rank").and_then(|rank| u32::try_from(rank).ok());
        let rank = match answered.filter(|&rank| rank < self.dp_size) {
            Some(rank) => rank,
            None => self.rank(handover)?,
        };
        let mut params = answer;
        params.put("remote_dp_rank", rank);
        params.put("remote_dp_rank_override", true);
        params.put_if_absent("transfer_id", transfer_id(handover));
        params.put_if_absent("remote_notify_port", self.decode.notify_port);
        params.put_if_absent("remote_handshake_port", self.decode.handshake_port);
        params.put_if_absent("remote_dp_size", self.dp_size);
        if !self.prefill.hosts.is_empty() {
            params.put_if_absent("remote_hosts", self.prefill.hosts.as_slice());
            if let Some(size) = self.dp_size_local {
                params.put_if_absent("remote_dp_size_local", size);
            }
        }
        Ok((params, (self.dp_size > 1).then_some(rank)))
    }

    /// The rank that both engines are sent to. `None` when there is only one.
    pub(super) fn header(&self, handover: &Handover<'_>) -> Result<Option<u32>> {
        let rank = self.rank(handover)?;
        Ok((self.dp_size > 1).then_some(rank))
    }

    fn rank(&self, handover: &Handover<'_>) -> Result<u32> {
        match handover.rank {
            _ if self.dp_size <= 1 => Ok(0),
            rank if rank < self.dp_size => Ok(rank),
            rank => Err(Error::new(ErrorKind::Invalid, format!("rank {rank}: expected less than {}", self.dp_size))),
        }
    }

    /// What one engine is told of the other's side.
    fn describe(&self, side: &MoriIoSide, params: &mut Body<'_>, handover: &Handover<'_>) -> Result<()> {
        params.put("remote_notify_port", side.notify_port);
        params.put("remote_dp_rank", self.rank(handover)?);
        params.put("remote_dp_rank_override", true);
        params.put("remote_handshake_port", side.handshake_port);
        params.put("transfer_id", transfer_id(handover));
        params.put("tp_size", self.tp_size);
        params.put("remote_dp_size", self.dp_size);
        if !side.hosts.is_empty() {
            params.put("remote_hosts", side.hosts.as_slice());
            if let Some(size) = self.dp_size_local {
                params.put("remote_dp_size_local", size);
            }
        }
        Ok(())
    }
}

/// MoRI-IO knows its messages by these two letters.
fn transfer_id(handover: &Handover<'_>) -> String {
    format!("tx{}", handover.request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_goes_to_the_rank_that_the_prefiller_ran_on_if_there_is_one() {
        let handover = Handover::new("id", "10.0.0.1:8000").with_rank(3);
        let moriio = MoriIo { dp_size: 4, ..MoriIo::default() };
        for (answered, rank) in [("2", 2), ("4", 3), ("-1", 3), ("1.5", 3), ("\"2\"", 3), ("null", 3)] {
            let answer = format!(r#"{{"remote_dp_rank":{answered}}}"#);
            let (params, header) = moriio.completed(Body::parse(answer.as_bytes()).unwrap(), &handover).unwrap();
            assert_eq!(params.number("remote_dp_rank"), Some(rank), "{answered}");
            assert_eq!(header.map(u64::from), Some(rank), "{answered}");
        }
        let (params, header) = MoriIo::default().completed(Body::default(), &handover).unwrap();
        assert_eq!((params.number("remote_dp_rank"), header), (Some(0), None));
    }

    #[test]
    fn a_rank_that_is_none_is_refused() {
        let moriio = MoriIo { dp_size: 4, ..MoriIo::default() };
        let error = moriio.header(&Handover::new("id", "h").with_rank(4)).unwrap_err();
        assert_eq!(error.to_string(), "rank 4: expected less than 4");
    }
}
