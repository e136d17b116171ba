//! Sees that all Rust in README.md and in the guides is compiled and run: as an example, or as a documentation test.

use std::{fs, path::Path};

/// What the documentation of this package includes, cargo runs as tests.
const RUN: &str = include_str!("../src/lib.rs");

/// A block that is marked as Rust.
#[derive(Debug, PartialEq)]
struct Block {
    /// What its mark says besides.
    mark: String,
    text: String,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut in_block, mut is_rust) = (false, false);
    for line in text.lines() {
        if let Some(mark) = line.trim_start().strip_prefix("```") {
            in_block = !in_block;
            // A block without a mark is Rust to rustdoc.
            is_rust = in_block && (mark.is_empty() || mark.starts_with("rust"));
            if is_rust {
                let mark = mark.trim_start_matches("rust").to_owned();
                blocks.push(Block { mark, text: String::new() });
            }
        } else if is_rust && let Some(block) = blocks.last_mut() {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    blocks
}

#[test]
fn d17_the_first_example_of_the_readme_is_the_quickstart() {
    let blocks = rust_blocks(&read("README.md"));
    assert_eq!(blocks.first().map(|block| &*block.text), Some(include_str!("../quickstart.rs")));
    assert_eq!(blocks.len(), 1, "the tests run no other one");
}

#[test]
fn d17_every_program_in_a_guide_is_run() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides");
    for entry in fs::read_dir(guides).expect("the guides") {
        let name = entry.expect("it is read").file_name().into_string().expect("text");
        let blocks = rust_blocks(&read(&format!("docs/guides/{name}")));
        let included = RUN.contains(&format!("#[doc = include_str!(\"../../docs/guides/{name}\")]\nmod "));
        assert!(included || blocks.is_empty(), "{name} has programs and stands not in examples/src/lib.rs");
        for block in blocks {
            assert_eq!(block.mark, "", "{name}: a program that is not run, or is to fail:\n{}", block.text);
        }
    }
}

#[test]
fn blocks_are_found_by_their_mark() {
    let text = "a\n```rust\none\n```\n```sh\ntwo\n```\n```rust,ignore\nthree\n\nfour\n```\n";
    let block = |mark: &str, text: &str| Block { mark: mark.to_owned(), text: text.to_owned() };
    assert_eq!(rust_blocks(text), [block("", "one\n"), block(",ignore", "three\n\nfour\n")]);
}
