//! vLLM's messages: a batch on the stream, a question for replay and its answers.
//!
//! The stream sends `[topic, number, payload]`, the number in 8 bytes, big-endian. A replay is asked for with
//! `["", number]`, and answered with `["", topic, number, payload]` for each batch from that number on (up to vLLM 0.25
//! without the topic), then with the same of number 2^64 - 1 and no payload.

use bytes::Bytes;
use llmd_core::event::{KvEventBatch, Numbered, number_batch};
use llmd_core::{Error, ErrorKind, Result};
use zeromq::ZmqMessage;

/// The number that ends a replay.
const END: u64 = u64::MAX;

/// A batch, or why nothing of it could be read.
pub(super) type Decoded = Result<KvEventBatch>;

/// What an engine says.
#[derive(Debug)]
pub(super) enum Said {
    Batch(Numbered<Decoded>),
    End,
}

/// The question for every batch from `from` on.
pub(super) fn question(from: u64) -> ZmqMessage {
    let mut message = ZmqMessage::from(Bytes::new());
    message.push_back(Bytes::copy_from_slice(&from.to_be_bytes()));
    message
}

/// Reads a message of the stream, or an answer: its last two frames are the number and the payload.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] when it is neither.
pub(super) fn read(message: ZmqMessage) -> Result<Said> {
    let frames = message.into_vec();
    let [.., number, payload] = &frames[..] else {
        return Err(corrupt(format!("expected a number and a payload, found {} frames", frames.len())));
    };
    let number = <[u8; 8]>::try_from(&number[..]).map_err(|_| {
        corrupt(format!("expected a number of 8 bytes before the payload, found {} bytes", number.len()))
    })?;
    match u64::from_be_bytes(number) {
        END if payload.is_empty() => Ok(Said::End),
        seq => Ok(Said::Batch(number_batch(seq, payload))),
    }
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use llmd_core::event::KvEvent;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn message(frames: &[&[u8]]) -> ZmqMessage {
        let frames: Vec<_> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        frames.try_into().unwrap()
    }

    fn number(seq: u64) -> [u8; 8] {
        seq.to_be_bytes()
    }

    const CLEARED: &[u8] = b"\x92\xcb\x3f\xf0\0\0\0\0\0\0\x91\x91\xb0AllBlocksCleared";

    #[test]
    fn a_question_is_an_empty_frame_and_a_number() {
        let frames = question(258).into_vec();
        assert_eq!(frames, [Bytes::new(), Bytes::from_static(&[0, 0, 0, 0, 0, 0, 1, 2])]);
    }

    #[test]
    fn batches_are_read_from_the_stream_and_from_both_forms_of_answers() {
        let forms: [&[&[u8]]; 3] =
            [&[b"topic", &number(7), CLEARED], &[b"", b"topic", &number(7), CLEARED], &[b"", &number(7), CLEARED]];
        for form in forms {
            let Said::Batch(batch) = read(message(form)).unwrap() else { panic!("{form:?} is a batch") };
            assert_eq!((batch.seq, batch.fingerprint, batch.clears_gpu), (7, xxh3_64(CLEARED), true));
            assert!(!batch.unreadable);
            assert_eq!(batch.batch.unwrap().events, [KvEvent::AllBlocksCleared]);
        }
    }

    #[test]
    fn both_forms_of_the_end_are_read() {
        for form in [&[&b""[..], b"", &number(END), b""][..], &[b"", &number(END), b""]] {
            assert!(matches!(read(message(form)), Ok(Said::End)));
        }
    }

    #[test]
    fn what_is_no_batch_keeps_its_place_and_is_called_unreadable() {
        let Said::Batch(batch) = read(message(&[b"", &number(3), b"\xc1"])).unwrap() else { panic!("it has a number") };
        assert_eq!((batch.seq, batch.unreadable, batch.batch.is_err()), (3, true, true));
    }

    #[test]
    fn what_has_no_number_is_corrupt() {
        let error = read(message(&[b"topic", b"abc", b""])).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Corrupt, "expected a number of 8 bytes before the payload, found 3 bytes".into())
        );
        assert_eq!(read(message(&[b"x"])).unwrap_err().to_string(), "expected a number and a payload, found 1 frames");
    }
}
