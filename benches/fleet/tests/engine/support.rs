//! Engines as child processes, and the simplest HTTP client that can read a stream.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use llmd_core::event::{KvEvent, decode_batch};
use llmd_fleet::process::EngineProcess;
use serde_json::Value;
use zeromq::{DealerSocket, Socket as _, SocketRecv as _, SocketSend as _, SubSocket, ZmqMessage};

/// How long any condition may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A fast engine with a small cache.
pub(crate) fn start(args: &[&str]) -> EngineProcess {
    let all = ["--speed", "200", "--num-gpu-blocks", "64"].iter().chain(args);
    EngineProcess::spawn(env!("CARGO_BIN_EXE_llmd-engine"), all).unwrap()
}

/// Sends a request and leaves the answer unread.
pub(crate) fn send(engine: &EngineProcess, method: &str, path: &str, body: &str) -> TcpStream {
    let address = engine.ready().http.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // In HTTP/1.0 an answer ends with its connection, so a stream needs no chunks.
    write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream
}

/// The status and the body of an answer.
pub(crate) fn ask(engine: &EngineProcess, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut answer = String::new();
    send(engine, method, path, body).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn get(engine: &EngineProcess, path: &str) -> Value {
    let (status, body) = ask(engine, "GET", path, "");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

pub(crate) fn post(engine: &EngineProcess, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(engine, "POST", path, &body.to_string());
    assert_eq!(status, 200, "{path}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let tries = DEADLINE.as_millis() / 10;
    let held = (0..tries).any(|_| {
        holds() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    });
    assert!(held, "{what} did not happen within {DEADLINE:?}");
}

/// One sample of `/metrics`.
pub(crate) fn metric(engine: &EngineProcess, sample: &str) -> f64 {
    let (_, text) = ask(engine, "GET", "/metrics", "");
    let line = text.lines().find(|line| line.starts_with(sample)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Frames of one message of the event stream.
pub(crate) type Frames = Vec<Vec<u8>>;

fn frames(message: &ZmqMessage) -> Frames {
    message.iter().map(|frame| frame.to_vec()).collect()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("a message within the deadline")
}

pub(crate) async fn subscribe(engine: &EngineProcess) -> SubSocket {
    let mut socket = SubSocket::new();
    within(socket.connect(&engine.ready().kv_events)).await.unwrap();
    socket.subscribe("").await.unwrap();
    socket
}

pub(crate) async fn next_batch(socket: &mut SubSocket) -> Frames {
    frames(&within(socket.recv()).await.unwrap())
}

/// Everything that the engine replays from a number on, without the empty frames that frame it.
pub(crate) async fn replay(engine: &EngineProcess, from: u64) -> Vec<Frames> {
    let mut socket = DealerSocket::new();
    within(socket.connect(&engine.ready().replay)).await.unwrap();
    let request: Vec<bytes::Bytes> = vec![bytes::Bytes::new(), from.to_be_bytes().to_vec().into()];
    socket.send(request.try_into().unwrap()).await.unwrap();
    let mut batches = Vec::new();
    loop {
        let reply = frames(&within(socket.recv()).await.unwrap());
        assert_eq!((reply.len(), reply[0].len()), (4, 0), "an empty frame, topic, number, payload");
        if reply[2] == [0xff; 8] {
            assert_eq!((reply[1].len(), reply[3].len()), (0, 0), "the end has no topic and no payload");
            return batches;
        }
        batches.push(reply[1..].to_vec());
    }
}

/// What a subscriber that counts believes after these batches.
pub(crate) fn counted(batches: &[Frames]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for payload in batches.iter().map(|frames| &frames[2]) {
        let batch = decode_batch(payload).unwrap();
        assert!(batch.errors.is_empty(), "{:?}", batch.errors);
        for event in batch.events {
            match event {
                KvEvent::AllBlocksCleared => counts.clear(),
                KvEvent::BlockRemoved(removed) => {
                    for hash in removed.block_hashes {
                        *counts.get_mut(&hash.as_int().unwrap()).expect("stored before it is removed") -= 1;
                    }
                    counts.retain(|_, count| *count > 0);
                }
                KvEvent::BlockStored(stored) => {
                    stored.block_hashes.iter().for_each(|hash| *counts.entry(hash.as_int().unwrap()).or_default() += 1);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    counts
}

/// The engine's own word on its cache, and the number of its next batch.
pub(crate) fn true_cache(engine: &EngineProcess) -> (u64, BTreeMap<u64, usize>) {
    let view = get(engine, "/debug/cache");
    let blocks = view["blocks"].as_array().unwrap();
    let blocks =
        blocks.iter().map(|block| (block["hash"].as_u64().unwrap(), block["copies"].as_u64().unwrap() as usize));
    assert_eq!(view["events_pending"], 0);
    (view["next_seq"].as_u64().unwrap(), blocks.collect())
}
