//! Benchmarks against the peers that users would pick instead.

fn main() {}
