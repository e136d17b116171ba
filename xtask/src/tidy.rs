//! `cargo xtask tidy`: the rules of this tree that no compiler knows.

mod claims;
mod direction;
mod documents;
mod floors;
mod limits;
mod manifests;
mod map;
mod marks;
mod sources;
mod tree;

use std::fmt;

use anyhow::{Result, bail};
use clap::Args;

use crate::run;
use tree::Tree;

/// Check the rules of this tree that no compiler knows: direction of crates, files, manifests, documents
#[derive(Debug, Default, Args)]
pub(crate) struct Tidy {
    /// Regenerate the tree in ARCHITECTURE.md from the first lines of the files and the table in docs/limits.md from
    /// the comments of `Limits`, then check
    #[arg(long)]
    fix: bool,
}

/// A rule that does not hold somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// A path from the workspace's root, and a line where there is one.
    place: String,
    what: String,
    /// What to do about it.
    remedy: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.place, self.what, self.remedy)
    }
}

/// Each rule reads the tree and gives what is wrong with it.
const RULES: [fn(&Tree) -> Vec<Problem>; 18] = [
    direction::crates,
    direction::byte_streams,
    direction::decoders,
    manifests::inherited,
    manifests::dependencies,
    manifests::full,
    floors::banned,
    sources::first_line,
    sources::length,
    sources::bare_lib,
    sources::corpora,
    claims::features,
    claims::threats,
    documents::present,
    documents::commands,
    documents::costs,
    map::current,
    limits::current,
];

impl Tidy {
    /// Checks every rule and lists all that is wrong.
    ///
    /// # Errors
    /// When a rule does not hold, or the tree cannot be read.
    pub(crate) fn run(&self) -> Result<()> {
        let root = run::root();
        if self.fix {
            let tree = Tree::read(&root)?;
            map::fix(&root, &tree)?;
            limits::fix(&root, &tree)?;
        }
        let mut problems = check(&Tree::read(&root)?);
        problems.sort();
        for problem in &problems {
            println!("{problem}");
        }
        match problems.len() {
            0 => Ok(()),
            1 => bail!("tidy: one problem"),
            n => bail!("tidy: {n} problems"),
        }
    }
}

fn check(tree: &Tree) -> Vec<Problem> {
    RULES.iter().flat_map(|rule| rule(tree)).collect()
}
