//! What does it cost to encode and to decode one length-prefixed frame, in the process, without a socket?
//!
//! Times are for one frame. Frames are encoded one behind the other into a buffer that has room, and decoded out of
//! one buffer that a read would have filled, each into a `Bytes` of its own, as a server does with pipelined input.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use net_core::frame::{Decoded, Framing, LengthPrefix};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// Payloads in bytes; small ones are what the codec is felt at.
const PAYLOADS: [usize; 3] = [64, 1_024, 65_536];

/// Bytes of frames that lie in a buffer at once.
const BUFFER: usize = 128 * 1024;

criterion_group!(codecs, encode, decode);
criterion_main!(codecs);

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for payload in PAYLOADS {
        let message = Bytes::from(vec![0x5a; payload]);
        group.bench_with_input(BenchmarkId::new("net-core", payload), &message, |bencher, message| {
            let framing = LengthPrefix::default();
            bencher.iter_custom(|frames| {
                filled(frames, message.len(), |out| framing.encode(message, out).is_ok())
            });
        });
        group.bench_with_input(BenchmarkId::new("tokio-util", payload), &message, |bencher, message| {
            let mut codec = LengthDelimitedCodec::new();
            bencher.iter_custom(|frames| {
                filled(frames, message.len(), |out| codec.encode(message.clone(), out).is_ok())
            });
        });
        group.bench_with_input(BenchmarkId::new("by hand", payload), &message, |bencher, message| {
            bencher.iter_custom(|frames| {
                filled(frames, message.len(), |out| {
                    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
                    out.extend_from_slice(message);
                    true
                })
            });
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for payload in PAYLOADS {
        group.bench_with_input(BenchmarkId::new("net-core", payload), &payload, |bencher, &payload| {
            let mut framing = LengthPrefix::default();
            bencher.iter_custom(|frames| {
                emptied(frames, payload, |input| match framing.decode(input) {
                    Ok(Decoded::Message(message)) => Some(message),
                    Ok(Decoded::Incomplete { .. }) | Err(_) => None,
                })
            });
        });
        group.bench_with_input(BenchmarkId::new("tokio-util", payload), &payload, |bencher, &payload| {
            let mut codec = LengthDelimitedCodec::new();
            bencher.iter_custom(|frames| {
                emptied(frames, payload, |input| codec.decode(input).ok().flatten().map(BytesMut::freeze))
            });
        });
        group.bench_with_input(BenchmarkId::new("by hand", payload), &payload, |bencher, &payload| {
            bencher.iter_custom(|frames| {
                emptied(frames, payload, |input| {
                    let len = u32::from_be_bytes(*input.first_chunk()?) as usize;
                    if input.len() < 4 + len {
                        return None;
                    }
                    input.advance(4);
                    Some(input.split_to(len).freeze())
                })
            });
        });
    }
    group.finish();
}

/// Time to encode `frames` frames, a buffer full at a time.
fn filled(frames: u64, payload: usize, mut encode: impl FnMut(&mut BytesMut) -> bool) -> Duration {
    let mut out = BytesMut::with_capacity(BUFFER + payload);
    let mut time = Duration::ZERO;
    for batch in batches(frames, payload) {
        out.clear();
        let began = Instant::now();
        for _ in 0..batch {
            assert!(encode(black_box(&mut out)), "the frame is within every limit");
        }
        time += began.elapsed();
        black_box(&out);
    }
    time
}

/// Time to decode `frames` frames out of buffers that are full, and to let go of the messages.
fn emptied(frames: u64, payload: usize, mut decode: impl FnMut(&mut BytesMut) -> Option<Bytes>) -> Duration {
    let mut wire = BytesMut::new();
    for _ in 0..per_batch(payload) {
        wire.put_u32(u32::try_from(payload).unwrap_or(u32::MAX));
        wire.put_bytes(0x5a, payload);
    }
    let mut time = Duration::ZERO;
    for batch in batches(frames, payload) {
        let mut input = BytesMut::from(&wire[..]);
        let began = Instant::now();
        for _ in 0..batch {
            let message = black_box(decode(black_box(&mut input)));
            assert!(message.is_some_and(|message| message.len() == payload), "the buffer holds whole frames");
        }
        time += began.elapsed();
    }
    time
}

fn per_batch(payload: usize) -> u64 {
    (BUFFER / (4 + payload)).max(1) as u64
}

/// `frames` in parts that fill a buffer.
fn batches(frames: u64, payload: usize) -> impl Iterator<Item = u64> {
    let full = per_batch(payload);
    let rest = frames % full;
    (0..frames / full).map(move |_| full).chain((rest > 0).then_some(rest))
}
