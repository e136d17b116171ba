//! The tree as the rules see it: the packages and the text of the files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::run;

/// Packages and files.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) packages: Vec<Package>,
    /// The text of each source, manifest, script and document, by its path from the root with `/` between names.
    pub(super) files: BTreeMap<String, String>,
    /// The paths of all files, read or not.
    pub(super) paths: Vec<String>,
}

/// A package of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    /// The folder, from the root; absolute until [`Tree::read`] has cut it.
    #[serde(rename = "manifest_path")]
    pub(super) folder: PathBuf,
    #[serde(default)]
    pub(super) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(super) features: BTreeMap<String, Vec<String>>,
}

/// What a package depends on.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `dev` or `build`; nothing for an ordinary dependency.
    #[serde(default)]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Tree {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// When `cargo metadata` fails or a file cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let metadata = ["metadata", "--no-deps", "--format-version", "1"];
        let metadata = run::output(run::cargo(metadata).current_dir(root))?;
        let metadata: Metadata =
            serde_json::from_str(&metadata).context("cannot read what `cargo metadata` printed")?;
        let mut tree = Self { packages: metadata.packages, ..Self::default() };
        for package in &mut tree.packages {
            let folder = package.folder.parent().and_then(|folder| folder.strip_prefix(root).ok());
            package.folder = folder.context("a package outside the workspace's root")?.to_owned();
        }
        tree.add(root, root)?;
        Ok(tree)
    }

    fn add(&mut self, root: &Path, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !["target", "out", ".git", "__pycache__"].contains(&&*name) {
                    self.add(root, &path)?;
                }
                continue;
            }
            let key = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let is_text =
                path.extension().is_some_and(|kind| ["rs", "toml", "md"].iter().any(|text| kind == *text));
            if is_text || key == ".ci/run" {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                self.files.insert(key.clone(), text);
            }
            self.paths.push(key);
        }
        Ok(())
    }

    /// The text of the file at `path`; empty where there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// The Rust sources in order of their paths.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (&**path, &**text)).filter(|(path, _)| is_rust(path))
    }
}

impl Package {
    /// The folder as the keys of [`Tree::files`] begin.
    pub(super) fn prefix(&self) -> String {
        self.folder.to_string_lossy().replace('\\', "/")
    }
}

/// Whether `path` names a Rust source.
pub(super) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "rs")
}

/// The number of lines of `text` before its module of tests; the module's own lines follow.
pub(super) fn code_lines(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let is_attribute = |line: &&str| line.trim_start().starts_with("#[");
    let starts_tests = |at: usize| {
        let mut rest = lines.iter().skip(at);
        let gated = rest.next().is_some_and(|line| *line == "#[cfg(test)]");
        gated && rest.find(|line| !is_attribute(line)).is_some_and(|line| line.starts_with("mod tests"))
    };
    (0..lines.len()).find(|at| starts_tests(*at)).unwrap_or(lines.len())
}

/// The lines of `text` that are code: outside its module of tests and no comments, with their numbers.
pub(super) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().take(code_lines(text)).map(|(at, line)| (at + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
impl Tree {
    /// A tree of the files given, without packages.
    pub(super) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let files: BTreeMap<_, _> =
            files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
        Self { paths: files.keys().cloned().collect(), files, packages: Vec::new() }
    }

    /// The tree with a package more.
    pub(super) fn with(mut self, name: &str, dependencies: &[(&str, Option<&str>)]) -> Self {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
            .collect();
        let folder = PathBuf::from("crates").join(name);
        self.packages.push(Package { name: name.to_owned(), folder, dependencies, ..Package::default() });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_at_the_end_are_no_code() {
        let text = "a\n#[cfg(test)]\nuse b;\nc\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n}\n";
        assert_eq!(code_lines(text), 4);
        assert_eq!(code_lines("a\nb\n"), 2);
    }

    #[test]
    fn comments_are_no_code() {
        let lines: Vec<_> = code("//! a\n/// b\nfn c() {}\n    // d\n}\n").collect();
        assert_eq!(lines, [(3, "fn c() {}"), (5, "}")]);
    }

    #[test]
    fn the_real_tree_can_be_read() {
        let tree = Tree::read(&run::root()).unwrap();
        assert!(tree.packages.iter().any(|package| package.prefix() == "crates/net-core"));
        assert!(tree.text("xtask/src/main.rs").starts_with("//! "));
    }
}
