//! The command net: echo, send, bench and demo over every transport.

fn main() {}
