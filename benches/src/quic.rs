//! `bench quic`: streams, bulk, handshakes and idle connections over QUIC, ours against bare quinn and s2n-quic.
//!
//! Every server does the same: bytes of a bidirectional stream come back, those of a unidirectional one are dropped. All take
//! one certificate of their own, made as they start, the same windows and limits, and one core.

pub mod cases;
pub mod load;
pub mod report;
pub mod settings;
pub mod suite;
