//! How long does one message take to be encoded and decoded in the process, as percentiles beside what is asked for?
//!
//! Each sample is one message of the 13-byte format in a length-prefixed frame: encoded into a buffer, decoded out of it into a
//! `Message` of its own. Two clock reads are part of each sample.

use std::{
    error::Error,
    hint::black_box,
    io::{self, Write as _},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;
use net_core::{
    Message, MessageKind,
    frame::{Decoded, FrameError, Framing, LengthPrefix},
};

/// Payload in bytes, and the bounds of p50 and p99 in nanoseconds.
const LOADS: [(usize, u64, u64); 3] = [(64, 500, 2_000), (1_024, 800, 3_000), (65_536, 10_000, 50_000)];
/// The bound of the mean of the two shorter ones, in nanoseconds.
const MEAN: f64 = 800.0;
const SAMPLES: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    writeln!(out, "payload, bytes | p50, ns (at most) | p99, ns (at most) | mean, ns | max, ns")?;
    for (payload, p50, p99) in LOADS {
        let times = sampled(payload)?;
        let [median, high] = [0.5, 0.99].map(|quantile| times.value_at_quantile(quantile));
        let (mean, max) = (times.mean(), times.max());
        writeln!(
            out,
            "{payload:>14} | {median:>8} ({p50:>6}) | {high:>8} ({p99:>6}) | {mean:>8.0} | {max:>7}"
        )?;
    }
    writeln!(out, "The mean of short messages is to be at most {MEAN} ns.")?;
    Ok(())
}

fn encode(framing: &LengthPrefix, message: &Message, wire: &mut BytesMut) -> Result<(), FrameError> {
    let (head, body) = (message.head(), message.payload());
    let taken = framing.encode_prefix(&head, body, wire)?;
    wire.extend_from_slice(head.get(taken..).unwrap_or_default());
    wire.extend_from_slice(body.get(taken.saturating_sub(head.len())..).unwrap_or_default());
    framing.encode_suffix(wire);
    Ok(())
}

fn sampled(payload: usize) -> Result<Histogram<u64>, Box<dyn Error>> {
    let framing = LengthPrefix::default();
    let mut decoder = LengthPrefix::default();
    let payload = Bytes::from(vec![0x5a; payload]);
    let mut wire = BytesMut::with_capacity(128 * 1024);
    let mut times = Histogram::new_with_bounds(1, 1_000_000_000, 3)?;
    // The first tenth warms up.
    for sample in 0..SAMPLES + SAMPLES / 10 {
        let message = Message::new(MessageKind::Request, sample, payload.clone());
        let began = Instant::now();
        encode(&framing, &message, black_box(&mut wire))?;
        let Decoded::Message(frame) = decoder.decode(&mut wire)? else {
            return Err("a frame that was encoded whole is not whole".into());
        };
        let decoded = black_box(Message::decode(frame)?);
        let took = began.elapsed();
        if decoded.id() != sample || decoded.payload().len() != payload.len() {
            return Err("another message came out than went in".into());
        }
        drop(decoded);
        wire.reserve(128 * 1024);
        if sample >= SAMPLES / 10 {
            times.record(u64::try_from(took.as_nanos())?.max(1))?;
        }
    }
    Ok(times)
}
