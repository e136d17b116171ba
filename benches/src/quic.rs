//! `bench quic`: streams, bulk, handshakes, idle connections and a path that loses, ours against bare quinn and s2n-quic.
//!
//! Every server does the same: bytes of a bidirectional stream come back, those of a unidirectional one are dropped. All take
//! one certificate of their own, made as they start, the same windows and limits, and one core.

pub mod cases;
pub mod load;
pub mod loss;
pub mod ratio;
pub mod report;
pub mod settings;
pub mod suite;
