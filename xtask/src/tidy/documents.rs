//! The documents that must be there, the commands that README.md and .ci/run share, and figures that were measured.

use std::collections::BTreeSet;

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

/// Where the table of costs is that takes its figures from [`MEASURED`], and the words before it.
const COSTS: (&str, &str) = ("docs/guides/protocols.md", "What each costs a server");
const MEASURED: &str = "docs/performance.md";

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

/// Each figure of the table of costs occurs where it was measured.
pub(super) fn costs(tree: &Tree) -> Vec<Problem> {
    let (guide, words) = COSTS;
    let measured: BTreeSet<_> = figures(tree.text(MEASURED)).collect();
    let after = tree.text(guide).lines().skip_while(|line| !line.starts_with(words));
    let table = after.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    // What a row is about is no figure.
    let cells = table.flat_map(|row| row.split('|').skip(2)).flat_map(figures);
    cells
        .filter(|figure| !measured.contains(figure))
        .map(|figure| {
            let what = format!("the table of costs has {figure}, which {MEASURED} has not");
            Problem::new(guide, what, format!("take the figure as it stands in {MEASURED}"))
        })
        .collect()
}

/// The numbers in `text`, as they are written.
fn figures(text: &str) -> impl Iterator<Item = &str> {
    let numbers = text.split(|char: char| !char.is_ascii_digit() && char != '.');
    numbers.map(|number| number.trim_matches('.')).filter(|number| !number.is_empty())
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

    #[test]
    fn a_cost_that_was_not_measured_is_found() {
        let guide = "A table of 9:\n\n| 8 |\n|---|\n\nWhat each costs a server:\n\n| | `tcp://` |\n|---|---|\n| 64 bytes | 0.33 µs, [less](a.md) |\n\n| 7 |\n";
        let measured =
            |text| costs(&Tree::of([("docs/guides/protocols.md", guide), ("docs/performance.md", text)]));
        assert_eq!(measured("It is 0.33."), []);
        assert!(measured("| 0.331 | 10.33 | 33 |")[0].what.contains("has 0.33,"));
    }
}
