//! Bytes ↔ frames. A frame is whole or not yet there; what it means is not known here.
//!
//! However the input is cut, the frames are the same, and no frame may grow without a cap.

pub mod aws_event_stream;
pub mod sse;

/// Why a stream cannot be framed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// One frame is larger than the decoder's limit, in bytes.
    #[error("a frame is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}
