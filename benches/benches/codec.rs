//! What does a frame cost to encode and to decode, against tokio-util's codec and the same by hand?
//!
//! Time per frame; a thousand frames pass in one go, as they do when a peer pipelines. Decoded messages are `Bytes`
//! that share the input, as sessions get them.

use std::{hint::black_box, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use net_core::frame::{AnyFraming, Decoded, Delimiter, Framing, LengthPrefix};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// How many frames pass in one go; fewer of long ones, so that they stay in the cache.
fn count(len: usize) -> usize {
    (256 * 1024 / len).min(1000)
}

const LENS: [usize; 3] = [64, 1024, 64 * 1024];

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for len in LENS {
        let (count, message) = (count(len), Bytes::from(vec![b'x'; len]));
        let mut out = BytesMut::with_capacity(count * (len + 16));
        group.throughput(Throughput::Elements(count as u64));
        let mut bench = |name: &str, mut encode: Box<dyn FnMut(&mut BytesMut)>| {
            group.bench_function(BenchmarkId::new(name, len), |b| {
                b.iter(|| {
                    out.clear();
                    encode(&mut out);
                    black_box(&out);
                });
            });
        };
        bench(
            "net",
            each(&message, count, |message, out| {
                LengthPrefix::default().encode(message, out).expect("short enough");
            }),
        );
        let any = black_box(AnyFraming::default());
        bench(
            "net_chosen_at_run_time",
            each(&message, count, move |message, out| {
                any.encode(message, out).expect("short enough");
            }),
        );
        let lines = Delimiter::lines().with_max_message_len(1 << 20);
        bench(
            "net_lines",
            each(&message, count, move |message, out| {
                lines.encode(message, out).expect("short enough");
            }),
        );
        let mut codec = LengthDelimitedCodec::new();
        bench(
            "tokio_util",
            each(&message, count, move |message, out| {
                codec.encode(message.clone(), out).expect("short enough");
            }),
        );
        bench(
            "by_hand",
            each(&message, count, |message, out| {
                out.put_u32(u32::try_from(message.len()).expect("short enough"));
                out.put_slice(message);
            }),
        );
    }
    group.finish();
}

/// Calls `encode` for each of `count` messages.
fn each(
    message: &Bytes,
    count: usize,
    mut encode: impl FnMut(&Bytes, &mut BytesMut) + 'static,
) -> Box<dyn FnMut(&mut BytesMut)> {
    let message = message.clone();
    Box::new(move |out| {
        for _ in 0..count {
            encode(black_box(&message), out);
        }
    })
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for len in LENS {
        let count = count(len);
        let mut bench = |name: &str, wire: &BytesMut, decode: &mut dyn FnMut(&mut BytesMut) -> usize| {
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::new(name, len), |b| {
                let refill = || {
                    let mut input = wire.clone();
                    // A view was taken before, as in a read buffer that is in use.
                    drop(input.split_to(0));
                    input
                };
                b.iter_batched_ref(refill, |input| assert_eq!(decode(input), count), BatchSize::PerIteration);
            });
        };
        let wire = |framing: &dyn Fn(&[u8], &mut BytesMut)| {
            let mut wire = BytesMut::new();
            (0..count).for_each(|_| framing(&vec![b'x'; len], &mut wire));
            wire
        };
        let prefixed =
            wire(&|message, out| LengthPrefix::default().encode(message, out).expect("short enough"));
        bench("net", &prefixed, &mut |input| messages(LengthPrefix::default(), input));
        bench("net_chosen_at_run_time", &prefixed, &mut |input| {
            messages(black_box(AnyFraming::default()), input)
        });
        let framing = Delimiter::lines().with_max_message_len(1 << 20);
        let lines = wire(&|message, out| framing.encode(message, out).expect("short enough"));
        bench("net_lines", &lines, &mut |input| messages(framing.clone(), input));
        bench("tokio_util", &prefixed, &mut |input| {
            let mut codec = LengthDelimitedCodec::new();
            let mut count = 0;
            while let Some(message) = codec.decode(input).expect("well-formed") {
                black_box(message.freeze());
                count += 1;
            }
            count
        });
        bench("by_hand", &prefixed, &mut |input| {
            let mut count = 0;
            while input.len() >= 4 {
                let len = input.get_u32() as usize;
                black_box(input.split_to(len).freeze());
                count += 1;
            }
            count
        });
    }
    group.finish();
}

fn messages(mut framing: impl Framing, input: &mut BytesMut) -> usize {
    let mut count = 0;
    while let Decoded::Message(message) = framing.decode(input).expect("well-formed") {
        black_box(message);
        count += 1;
    }
    count
}

criterion_group! {
    name = codec;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = encode, decode
}
criterion_main!(codec);
