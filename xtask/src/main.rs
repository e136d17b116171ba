//! The checks, tests and benches of this workspace.

fn main() {}
