//! Sees that the Rust in README.md is an example, which the other tests compile and run.

use std::{fs, path::Path};

/// Returns the blocks that are marked as Rust, in whatever way.
fn rust_blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let (mut in_block, mut is_rust) = (false, false);
    for line in text.lines() {
        if let Some(mark) = line.trim_start().strip_prefix("```") {
            in_block = !in_block;
            is_rust = in_block && mark.starts_with("rust");
            if is_rust {
                blocks.push(String::new());
            }
        } else if is_rust && let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

#[test]
fn d17_the_only_program_of_the_readme_is_the_quickstart() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let blocks = rust_blocks(&fs::read_to_string(readme).expect("README.md is there"));
    assert_eq!(blocks, [include_str!("../quickstart.rs")], "the tests run no other one");
}

#[test]
fn blocks_are_found_by_their_mark() {
    let text = "a\n```rust\none\n```\n```sh\ntwo\n```\n```rust,ignore\nthree\n\nfour\n```\n";
    assert_eq!(rust_blocks(text), ["one\n", "three\n\nfour\n"]);
}
