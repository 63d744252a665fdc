//! What an engine has published, asked of its replay socket: past any index, of simulated engines and of real ones.

use std::time::Duration;

use bytes::Bytes;
use llmd_core::{Error, ErrorKind, Result};
use zeromq::{DealerSocket, Socket as _, SocketOptions, SocketRecv as _, SocketSend as _, ZmqMessage};

/// The number that ends an answer.
const END: u64 = u64::MAX;

/// The batches that the engine at `endpoint` remembers from number `from` on, by number.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when the engine cannot be reached, or says nothing for as long as `silence` in the middle
/// of its answer; [`ErrorKind::Corrupt`] when a message is no numbered batch.
pub async fn replay(endpoint: &str, from: u64, silence: Duration) -> Result<Vec<(u64, Bytes)>> {
    let unavailable = |error| {
        Error::new(ErrorKind::Unavailable, format!("the replay socket {endpoint} does not answer")).with_source(error)
    };
    let mut options = SocketOptions::default();
    options.connect_timeout(silence);
    let mut socket = DealerSocket::with_options(options);
    socket.connect(endpoint).await.map_err(unavailable)?;
    let mut question = ZmqMessage::from(Bytes::new());
    question.push_back(Bytes::copy_from_slice(&from.to_be_bytes()));
    socket.send(question).await.map_err(unavailable)?;
    let mut batches = Vec::new();
    loop {
        let Ok(message) = tokio::time::timeout(silence, socket.recv()).await else {
            let message = format!("the replay socket {endpoint} has said nothing for {} s", silence.as_secs());
            return Err(Error::new(ErrorKind::Unavailable, message));
        };
        match numbered(&message.map_err(unavailable)?)? {
            (END, payload) if payload.is_empty() => return Ok(batches),
            batch => batches.push(batch),
        }
    }
}

/// The last two frames of a message, published or replayed: a number and a payload.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] when they are not there, or the number is not of 8 bytes.
pub fn numbered(message: &ZmqMessage) -> Result<(u64, Bytes)> {
    let frames: Vec<_> = message.iter().collect();
    let [.., number, payload] = &frames[..] else {
        return Err(corrupt(format!("{} frames: expected a number and a payload", frames.len())));
    };
    let bytes = <[u8; 8]>::try_from(&number[..])
        .map_err(|_| corrupt(format!("a number of {} bytes: expected 8", number.len())))?;
    Ok((u64::from_be_bytes(bytes), Bytes::clone(payload)))
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_number_is_corrupt() {
        let error = numbered(&ZmqMessage::from(Bytes::from_static(b"alone"))).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Corrupt, "1 frames: expected a number and a payload".to_owned())
        );
    }
}
