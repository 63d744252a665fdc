//! A request's body: read once, within bounds, piece by piece.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use smallvec::SmallVec;

use crate::answer::Refusal;

/// A body as it came: its pieces, in order.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: SmallVec<[Bytes; 8]>,
    len: usize,
}

impl Pieces {
    /// Reads a body to its end.
    ///
    /// Refused when it is longer than `limit`, or says so in advance; when the next piece takes longer than `patience`;
    /// when the client breaks off.
    pub(crate) async fn read(mut body: Incoming, limit: usize, patience: Duration) -> Result<Self, Refusal> {
        if body.size_hint().lower() > limit as u64 {
            return Err(Refusal::too_large(limit));
        }
        let mut read = Self::default();
        loop {
            let frame = tokio::time::timeout(patience, body.frame()).await.map_err(|_| Refusal::too_slow())?;
            let Some(frame) = frame else { return Ok(read) };
            let frame =
                frame.map_err(|error| Refusal::invalid(None, format!("the request's body broke off: {error}")))?;
            let Ok(piece) = frame.into_data() else { continue };
            if piece.len() > limit - read.len {
                return Err(Refusal::too_large(limit));
            }
            read.push(piece);
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        self.pieces.push(piece);
    }

    /// All of it in one: free when it came in one piece, else one copy.
    pub(crate) fn into_contiguous(mut self) -> Bytes {
        if self.pieces.len() <= 1 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.len);
        for piece in &self.pieces {
            whole.extend_from_slice(piece);
        }
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from_static(b"whole");
        let mut pieces = Pieces::default();
        pieces.push(piece.clone());

        assert_eq!(pieces.into_contiguous().as_ptr(), piece.as_ptr());
    }

    #[test]
    fn several_pieces_become_one() {
        let mut pieces = Pieces::default();
        for piece in ["a", "bc", "", "d"] {
            pieces.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(pieces.into_contiguous(), "abcd");
        assert_eq!(Pieces::default().into_contiguous(), "");
    }
}
