//! What comes before a request that another engine decodes, or has prefilled.

use std::sync::Arc;

use llmd_kvxfer::Grant;
use serde_json::Value;
use tokio::sync::oneshot::{Receiver, Sender, channel};

use super::driver::Command;
use super::kv::{Handed, Kv};
use super::refusal::Refusal;
use super::server::Server;
use crate::model::NewRequest;

/// Brings here what another engine computed of a request, or has it keep what it computes: then what is said of that comes by the
/// channel. An engine without bytes does neither, and computes.
pub(super) async fn prepare(
    server: &Arc<Server>,
    request: &mut NewRequest,
    handed: Option<Handed>,
) -> Result<Option<(Sender<Value>, Receiver<Value>)>, Refusal> {
    match (&server.kv, handed) {
        (Some(_), Some(Handed::Away)) => {
            request.hands_over = true;
            Ok(Some(channel()))
        }
        (Some(kv), Some(Handed::Here(grant))) => {
            let (server, kv, request) = (Arc::clone(server), Arc::clone(kv), request.clone());
            // Not ended when the client leaves: blocks that were taken must be given back.
            let bringing = tokio::spawn(async move { bring(&server, &kv, request, &grant).await });
            bringing.await.map_err(|_| Server::gone())??;
            Ok(None)
        }
        _ => Ok(None),
    }
}

async fn bring(server: &Server, kv: &Kv, request: NewRequest, grant: &Grant) -> Result<(), Refusal> {
    let (taken, heard) = channel();
    server.command(Command::Expect { request, most: grant.blocks().len(), taken })?;
    let Some(expected) = heard.await.map_err(|_| Server::gone())? else {
        kv.decline(grant);
        return Ok(());
    };
    let good = kv.fetch(grant, &expected).await;
    server.command(Command::Arrived { expected: Box::new(expected), good })
}
