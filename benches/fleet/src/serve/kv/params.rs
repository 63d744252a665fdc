//! What engines tell each other of KV, by way of the router: `kv_transfer_params` in the shape of vLLM's NIXL connector, with a
//! grant of llmd's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmd_core::protocol::LLMD;
use llmd_kvxfer::Grant;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a request says of KV.
#[derive(Debug, Default, Deserialize)]
pub(in super::super) struct KvTransferParams {
    do_remote_decode: Option<bool>,
    do_remote_prefill: Option<bool>,
    grant: Option<String>,
}

/// What is to be done about KV.
#[derive(Debug)]
pub(in super::super) enum Handed {
    /// Another engine decodes: keep what is computed.
    Away,
    /// Another engine has prefilled.
    Here(Box<Grant>),
}

impl KvTransferParams {
    /// What these ask for; `None` when the engine does all by itself. A grant that is none is as good as none: the prompt is
    /// computed.
    pub(in super::super) fn handed(&self) -> Option<Handed> {
        if self.do_remote_decode == Some(true) {
            return Some(Handed::Away);
        }
        let text = self.grant.as_deref().filter(|_| self.do_remote_prefill == Some(true))?;
        let bytes =
            STANDARD.decode(text).inspect_err(|error| tracing::warn!(%error, "a grant that is no base64")).ok()?;
        let grant =
            Grant::from_bytes(&bytes).inspect_err(|error| tracing::warn!(%error, "a grant that is none")).ok()?;
        Some(Handed::Here(Box::new(grant)))
    }
}

/// What the decoder is told of blocks that hold so many tokens of the prompt, by the engine at this address.
pub(super) fn granted(grant: &Grant, host: &str, port: u16, tokens: usize) -> Value {
    json!({
        "connector": LLMD,
        "do_remote_prefill": true,
        "do_remote_decode": false,
        "remote_engine_id": grant.agent().to_string(),
        "remote_block_ids": [grant.blocks()],
        "remote_host": host,
        "remote_port": port,
        "tp_size": 1,
        "remote_num_tokens": tokens,
        "grant": STANDARD.encode(grant.to_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use llmd_kvxfer::{Agent, KvLayout, Lease, Local, Region};

    use super::*;

    fn handed(params: Value) -> Option<Handed> {
        serde_json::from_value::<KvTransferParams>(params).unwrap().handed()
    }

    #[test]
    fn what_one_engine_says_the_other_reads() {
        let agent = Agent::builder("p").transport(Local::default()).build().unwrap();
        let layout = KvLayout::opaque("test", 8, 64).unwrap();
        let pool = agent.register(Region::memfd(8 * 64).unwrap(), layout).unwrap();
        let grant = agent.grant(&pool, &[3, 5], Lease::for_secs(1)).unwrap();
        let said = granted(&grant, "127.0.0.1", 8000, 32);
        assert_eq!((&said["remote_block_ids"], &said["remote_num_tokens"]), (&json!([[3, 5]]), &json!(32)));
        let Some(Handed::Here(read)) = handed(said) else { panic!("it is handed here") };
        assert_eq!(*read, grant);
    }

    #[test]
    fn what_makes_no_sense_means_that_the_engine_does_all() {
        assert!(matches!(handed(json!({"do_remote_decode": true, "grant": null})), Some(Handed::Away)));
        for params in [
            json!({}),
            json!({"do_remote_prefill": true}),
            json!({"do_remote_prefill": true, "grant": "!"}),
            json!({"do_remote_prefill": true, "grant": "AQID"}),
            json!({"do_remote_decode": false, "do_remote_prefill": false, "grant": "AQID"}),
        ] {
            assert!(handed(params.clone()).is_none(), "{params}");
        }
    }
}
