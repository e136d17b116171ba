//! What stands between two marks of a document, and is drawn anew between them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::tree::Tree;

/// Where in a document something is drawn.
pub(super) struct Marks {
    pub(super) path: &'static str,
    pub(super) start: &'static str,
    pub(super) end: &'static str,
}

impl Marks {
    /// The text up to and with the first mark, what stands between the marks, and the rest.
    pub(super) fn between<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let start = text.find(self.start)? + self.start.len();
        let (before, rest) = text.split_at_checked(start)?;
        let (shown, after) = rest.split_at_checked(rest.find(self.end)?)?;
        Some((before, shown, after))
    }

    /// Writes `drawn` between the marks.
    ///
    /// # Errors
    /// When the marks are missing or the file cannot be written.
    pub(super) fn write(&self, root: &Path, tree: &Tree, drawn: &str) -> Result<()> {
        let Self { path, start, end } = self;
        let missing = format!("{path} has no `{}` … `{end}`, so there is no place for it", start.trim());
        let (before, shown, after) = self.between(tree.text(path)).context(missing)?;
        if shown != drawn {
            fs::write(root.join(path), [before, drawn, after].concat())
                .with_context(|| format!("cannot write {path}"))?;
        }
        Ok(())
    }
}
