//! The tree in ARCHITECTURE.md: every source with its first line, regenerated on request.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::Result;

use super::{Problem, marks::Marks, tree::Tree};

const PATH: &str = "ARCHITECTURE.md";
const START: &str = "<!-- tree -->\n";
const END: &str = "<!-- /tree -->";
const MARKS: Marks = Marks { path: PATH, start: START, end: END };
/// The column at which descriptions start.
const COLUMN: usize = 30;

/// ARCHITECTURE.md shows the tree as the files describe themselves.
pub(super) fn current(tree: &Tree) -> Vec<Problem> {
    let text = tree.text(PATH);
    match MARKS.between(text) {
        None => {
            let what = format!("no `{}` … `{END}` in it", START.trim());
            vec![Problem::new(PATH, what, "put both marks, each on its own line, where the tree belongs")]
        }
        Some((_, shown, _)) if shown == drawn(tree) => Vec::new(),
        Some(_) => vec![Problem::new(PATH, "the tree is stale", "run `cargo xtask tidy --fix`")],
    }
}

/// Writes the tree anew between its marks.
///
/// # Errors
/// When the marks are missing or the file cannot be written.
pub(super) fn fix(root: &Path, tree: &Tree) -> Result<()> {
    MARKS.write(root, tree, &drawn(tree))
}

/// The sources of a package by folder: a file's name and first line, or another folder.
#[derive(Debug, Default)]
struct Folder<'a> {
    files: BTreeMap<&'a str, &'a str>,
    folders: BTreeMap<&'a str, Self>,
}

fn drawn(tree: &Tree) -> String {
    let mut text = "```text\n".to_owned();
    let mut packages: Vec<_> = tree.packages.iter().collect();
    packages.sort_by_key(|package| package.prefix());
    for package in packages {
        let prefix = package.prefix();
        line(&mut text, 0, &format!("{prefix}/"), package.description.as_deref().unwrap_or_default());
        let mut folder = Folder::default();
        for (path, source) in tree.sources() {
            if let Some(path) = path.strip_prefix(&*prefix).and_then(|path| path.strip_prefix('/')) {
                // The folder `src` is left out: it holds what is not said to be elsewhere.
                folder.add(path.strip_prefix("src/").unwrap_or(path), first_line(source));
            }
        }
        folder.draw(&mut text, 1);
    }
    text.push_str("```\n");
    text
}

impl<'a> Folder<'a> {
    fn add(&mut self, path: &'a str, description: &'a str) {
        match path.split_once('/') {
            Some((folder, rest)) => self.folders.entry(folder).or_default().add(rest, description),
            None => drop(self.files.insert(path, description)),
        }
    }

    /// The crate's root first, then each file with its folder of the same name, then folders without a file.
    fn draw(&self, text: &mut String, depth: usize) {
        let is_root = |name: &str| ["lib.rs", "main.rs"].contains(&name);
        let files = self.files.iter();
        for (name, description) in
            files.clone().filter(|(name, _)| is_root(name)).chain(files.filter(|(name, _)| !is_root(name)))
        {
            line(text, depth, name, description);
            if let Some((stem, folder)) = self.folders.get_key_value(name.trim_end_matches(".rs")) {
                folder.draw_named(text, depth, stem);
            }
        }
        for (name, folder) in &self.folders {
            if !self.files.contains_key(&*format!("{name}.rs")) {
                folder.draw_named(text, depth, name);
            }
        }
    }

    fn draw_named(&self, text: &mut String, depth: usize, name: &str) {
        line(text, depth, &format!("{name}/"), "");
        self.draw(text, depth + 1);
    }
}

fn line(text: &mut String, depth: usize, name: &str, description: &str) {
    let name = format!("{:indent$}{name}", "", indent = depth * 2);
    let written = if description.is_empty() {
        writeln!(text, "{name}")
    } else {
        writeln!(text, "{name:<width$} {description}", width = COLUMN - 1)
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

fn first_line(source: &str) -> &str {
    source.lines().next().and_then(|line| line.strip_prefix("//! ")).unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DRAWN: &str = "\
```text
crates/net-a/                 What a is.
  lib.rs                      The crate.
  frame.rs                    Frames.
  frame/
    tlv.rs                    Tags.
  zeal.rs                     Zeal.
  tests/
    laws.rs                   Laws.
```
";

    fn tree(shown: &str) -> Tree {
        let text = format!("# Map\n\n{START}{shown}{END}\nAfter.\n");
        let mut tree = Tree::of([
            ("crates/net-a/src/lib.rs", "//! The crate.\n"),
            ("crates/net-a/src/zeal.rs", "//! Zeal.\n"),
            ("crates/net-a/src/frame.rs", "//! Frames.\n"),
            ("crates/net-a/src/frame/tlv.rs", "//! Tags.\n"),
            ("crates/net-a/tests/laws.rs", "//! Laws.\n"),
            ("crates/net-ab/src/lib.rs", "//! Another.\n"),
            (PATH, &text),
        ])
        .with("net-a", &[]);
        tree.packages[0].description = Some("What a is.".to_owned());
        tree
    }

    #[test]
    fn the_tree_is_drawn_from_the_first_lines() {
        assert_eq!(drawn(&tree("")), DRAWN);
    }

    #[test]
    fn a_stale_tree_is_found() {
        assert_eq!(current(&tree(DRAWN)), []);
        assert!(current(&tree("old\n"))[0].what.contains("stale"));
        assert!(current(&Tree::of([(PATH, "# Map\n")]))[0].what.contains("no `<!-- tree -->`"));
    }

    #[test]
    fn fixing_writes_between_the_marks_only() {
        let root = std::env::temp_dir().join(format!("xtask-map-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fix(&root, &tree("old\n")).unwrap();
        let text = fs::read_to_string(root.join(PATH)).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(text, format!("# Map\n\n{START}{DRAWN}{END}\nAfter.\n"));
    }
}
