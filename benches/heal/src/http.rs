//! Questions to an engine over HTTP/1.0, in which an answer ends with its connection.

use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// The body of the answer to `method` `path`.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when there is none within 20 s, or its status is not 200.
pub(crate) async fn ask(url: &str, method: &str, path: &str, body: &str) -> Result<String> {
    let unavailable = |why: String| Error::new(ErrorKind::Unavailable, format!("{method} {url}{path}: {why}"));
    let exchange = async {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
        let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(DEADLINE, exchange).await;
    let answer =
        answer.map_err(|_| unavailable("no answer".into()))?.map_err(|error| unavailable(error.to_string()))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(unavailable(answer.chars().take(200).collect())),
    }
}
