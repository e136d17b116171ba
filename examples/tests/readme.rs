//! Holds the Rust in README.md and the guides against the examples, which the other tests compile and run.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the blocks of a document that are marked as Rust, in whatever way.
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

/// Returns the files in `folder` and below whose names end in `end`, except those of tests.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("it is read").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true if path.ends_with("tests") || path.ends_with("target") => Vec::new(),
            true => files(&path, end),
            false if path.to_string_lossy().ends_with(end) => vec![path],
            false => Vec::new(),
        })
        .collect()
}

/// Indentation does not count: a guide may show a part of a function.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn d17_the_first_example_of_the_readme_is_the_quickstart() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let quickstart = include_str!("../quickstart.rs");
    assert_eq!(rust_blocks(&readme).first().map(String::as_str), Some(quickstart));
}

#[test]
fn d17_rust_in_documents_is_part_of_an_example() {
    let examples: Vec<_> = files(&root().join("examples"), ".rs")
        .into_iter()
        .map(|path| fs::read_to_string(path).expect("it is read"))
        .collect();
    assert!(examples.len() > 10, "{} examples", examples.len());
    let mut documents = files(&root().join("docs/guides"), ".md");
    documents.push(root().join("README.md"));
    for document in documents {
        let text = fs::read_to_string(&document).expect("it is read");
        for block in rust_blocks(&text) {
            let block = lines(&block);
            assert!(!block.is_empty(), "{}: an empty block", document.display());
            let shown = |example: &String| lines(example).windows(block.len()).any(|part| part == block);
            assert!(
                examples.iter().any(shown),
                "{}: no example contains this:\n{}",
                document.display(),
                block.join("\n")
            );
        }
    }
}

#[test]
fn blocks_are_found_by_their_mark() {
    let text = "a\n```rust\none\n```\n```sh\ntwo\n```\n```rust,ignore\nthree\n\nfour\n```\n";
    assert_eq!(rust_blocks(text), ["one\n", "three\n\nfour\n"]);
}
