//! The documents that must be there, and the commands that README.md and .ci/run share.

use super::{Problem, tree::Tree};

/// Each document that this project keeps.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Cargo.lock",
    "deny.toml",
    "docs/features.md",
    "docs/wire.md",
    "docs/performance.md",
];

/// The first two `sh` blocks of README.md: the main job, then the tests.
const COMMANDS: [&str; 2] = ["cargo run --release -p net-cli -- demo", "cargo xtask test"];

/// Every document is there.
pub(super) fn present(tree: &Tree) -> Vec<Problem> {
    let absent = DOCUMENTS.iter().filter(|document| !tree.paths.iter().any(|path| path == *document));
    absent
        .map(|document| {
            Problem::new(*document, "is missing", "write it; CONTRIBUTING.md says what each holds")
        })
        .collect()
}

/// README.md begins with the two commands that a newcomer needs, and .ci/run runs the second as it stands there.
pub(super) fn commands(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let blocks = shell_blocks(tree.text("README.md"));
    for (at, (command, ordinal)) in COMMANDS.iter().zip(["first", "second"]).enumerate() {
        if blocks.get(at).is_none_or(|lines| lines[..] != [*command]) {
            let what = format!("the {ordinal} `sh` block is not the one line `{command}`");
            problems.push(Problem::new(
                "README.md",
                what,
                "fresh clones are tried with the first two blocks; restore it",
            ));
        }
    }
    let [_, test] = COMMANDS;
    if !tree.text(".ci/run").lines().any(|line| line == test) {
        let what = format!("does not run `{test}`, the README's test command");
        problems.push(Problem::new(".ci/run", what, "give it a line of its own, unchanged"));
    }
    problems
}

/// The lines of each block marked `sh`, without comments and empty lines.
fn shell_blocks(text: &str) -> Vec<Vec<&str>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines() {
        match &mut open {
            Some(_) if line.starts_with("```") => blocks.extend(open.take()),
            Some(lines) => {
                lines.extend((!line.trim().is_empty() && !line.trim().starts_with('#')).then_some(line));
            }
            None if line.trim_end() == "```sh" => open = Some(Vec::new()),
            None => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# Net\n```sh\n# the main job\ncargo run --release -p net-cli -- demo\n```\n\n```rust\nfn main() {}\n```\n\n```sh\ncargo xtask test\n```\n";
    const CI: &str = "#!/usr/bin/env bash\ncargo xtask ci --skip test\ncargo xtask test\n";

    #[test]
    fn every_document_must_be_there() {
        assert_eq!(present(&Tree::of(DOCUMENTS.map(|path| (path, "")))), []);
        assert_eq!(present(&Tree::default()).len(), DOCUMENTS.len());
    }

    #[test]
    fn the_two_commands_of_the_readme_pass() {
        assert_eq!(commands(&Tree::of([("README.md", README), (".ci/run", CI)])), []);
    }

    #[test]
    fn a_changed_command_is_found() {
        let longer = README.replace("cargo xtask test\n", "cargo xtask test\ncargo xtask ci\n");
        assert!(commands(&Tree::of([("README.md", &*longer), (".ci/run", CI)]))[0].what.contains("second"));
        let other = README.replace("-- demo", "-- echo");
        assert!(commands(&Tree::of([("README.md", &*other), (".ci/run", CI)]))[0].what.contains("first"));
        let ci = CI.replace("cargo xtask test", "cargo xtask test || true");
        assert_eq!(commands(&Tree::of([("README.md", README), (".ci/run", &*ci)]))[0].place, ".ci/run");
    }
}
