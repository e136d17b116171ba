//! The table of limits in docs/limits.md: drawn from the comments on the fields of `net_core::Limits`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::Result;

use super::{Problem, marks::Marks, tree::Tree};

const SOURCE: &str = "crates/net-core/src/limits.rs";
const NAMES: &str = "crates/net-core/src/limit.rs";
const PATH: &str = "docs/limits.md";
const START: &str = "<!-- limits -->\n";
const END: &str = "<!-- /limits -->";
const MARKS: Marks = Marks { path: PATH, start: START, end: END };

/// docs/limits.md shows every limit as its field describes it.
pub(super) fn current(tree: &Tree) -> Vec<Problem> {
    if !tree.files.contains_key(SOURCE) {
        return Vec::new();
    }
    let rows = rows(tree.text(SOURCE));
    let mut problems = undescribed(&rows, tree.text(NAMES));
    match MARKS.between(tree.text(PATH)) {
        None => {
            let what = format!("no `{}` … `{END}` in it", START.trim());
            problems.push(Problem::new(
                PATH,
                what,
                "put both marks, each on its own line, where the table belongs",
            ));
        }
        Some((_, shown, _)) if shown == drawn(&rows) => {}
        Some(_) => problems.push(Problem::new(PATH, "the table is stale", "run `cargo xtask tidy --fix`")),
    }
    problems
}

/// Writes the table anew between its marks.
///
/// # Errors
/// When the marks are missing or the file cannot be written.
pub(super) fn fix(root: &Path, tree: &Tree) -> Result<()> {
    MARKS.write(root, tree, &drawn(&rows(tree.text(SOURCE))))
}

/// A field, and what its comment says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    kind: String,
    what: String,
    /// `Unit`, `Default`, `Reached` and `Told`.
    points: BTreeMap<String, String>,
}

/// The fields of `Limits`, each followed by those of the struct that it holds.
fn rows(source: &str) -> Vec<Row> {
    let structs = structs(source);
    let mut rows = Vec::new();
    for field in structs.get("Limits").into_iter().flatten() {
        rows.push(field.clone());
        let kind = field.kind.trim_start_matches("Option<").trim_end_matches('>');
        for inner in structs.get(kind).into_iter().flatten() {
            rows.push(Row { name: format!("{}.{}", field.name, inner.name), ..inner.clone() });
        }
    }
    rows
}

/// The public fields of each public struct.
fn structs(source: &str) -> BTreeMap<&str, Vec<Row>> {
    let mut structs = BTreeMap::<_, Vec<_>>::new();
    let mut inside = None;
    let mut comment = Vec::new();
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("pub struct ") {
            inside = name.split_once(' ').map(|(name, _)| name);
            comment.clear();
        } else if line == "}" {
            inside = None;
        }
        let Some(name) = inside else { continue };
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if let Some((field, kind)) = line.strip_prefix("pub ").and_then(|line| line.split_once(": ")) {
            let (what, points) = described(&comment);
            let kind = kind.trim_end_matches(',').to_owned();
            structs.entry(name).or_default().push(Row { name: field.to_owned(), kind, what, points });
            comment.clear();
        }
    }
    structs
}

/// The first paragraph of a comment, and its list of points.
fn described(comment: &[&str]) -> (String, BTreeMap<String, String>) {
    let what: Vec<_> = comment.iter().copied().take_while(|line| !line.is_empty()).collect();
    let mut points = BTreeMap::<String, String>::new();
    let mut last = None;
    for line in comment.iter().skip(what.len()) {
        if let Some((point, text)) = line.strip_prefix("* ").and_then(|line| line.split_once(": ")) {
            points.insert(point.to_owned(), text.to_owned());
            last = Some(point);
        } else if let Some(text) = last.filter(|_| !line.is_empty()).and_then(|point| points.get_mut(point)) {
            *text += " ";
            *text += line;
        }
    }
    (what.join(" "), points)
}

/// What has no unit or default, and names that observers are told and that no field mentions.
fn undescribed(rows: &[Row], names: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for row in rows {
        for point in ["Unit", "Default"]
            .into_iter()
            .chain((!row.name.contains('.')).then_some(["Reached", "Told"]).into_iter().flatten())
        {
            if !row.points.contains_key(point) {
                let what = format!("`{}` does not say its {}", row.name, point.to_lowercase());
                problems.push(Problem::new(SOURCE, what, format!("add a line `/// * {point}: …`")));
            }
        }
    }
    let told: String = rows.iter().filter_map(|row| row.points.get("Told")).cloned().collect();
    for name in
        names.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once('"')).map(|(name, _)| name)
    {
        // Who may come in, and how often each may ask, is configured apart.
        let apart = name.starts_with("authentication.") || name == "rate_limits";
        if !apart && !told.contains(&format!("`{name}`")) {
            let what = format!("observers are told `{name}`, of which no field says so");
            problems.push(Problem::new(SOURCE, what, "name it behind `Told:` of the field that it is about"));
        }
    }
    problems
}

fn drawn(rows: &[Row]) -> String {
    let mut text = "| name | what it bounds | unit | default | when it is reached | observers are told |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let point = |name: &str| row.points.get(name).map_or("", String::as_str);
        let written = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            row.name,
            row.what,
            point("Unit"),
            point("Default"),
            point("Reached"),
            point("Told")
        );
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = concat!(
        "/// All limits.\n",
        "pub struct Limits {\n",
        "    /// Connections\n",
        "    /// in all.\n",
        "    ///\n",
        "    /// More of them.\n",
        "    ///\n",
        "    /// * Unit: connections\n",
        "    /// * Default: 9\n",
        "    /// * Reached: one more is refused,\n",
        "    ///   kindly\n",
        "    /// * Told: `rejected`, `max`\n",
        "    #[cfg_attr(feature = \"serde\", serde(default))]\n",
        "    pub max: usize,\n",
        "    /// A rate.\n",
        "    ///\n",
        "    /// * Unit: a rate, or off\n",
        "    /// * Default: on\n",
        "    /// * Reached: the end\n",
        "    /// * Told: `rate`\n",
        "    pub rate: Option<Rate>,\n",
        "}\n",
        "pub struct Rate {\n",
        "    /// Bytes.\n",
        "    ///\n",
        "    /// * Unit: bytes\n",
        "    /// * Default: 240\n",
        "    pub bytes: u32,\n",
        "}\n",
    );
    const DRAWN: &str = concat!(
        "| name | what it bounds | unit | default | when it is reached | observers are told |\n",
        "|---|---|---|---|---|---|\n",
        "| `max` | Connections in all. | connections | 9 | one more is refused, kindly | `rejected`, `max` |\n",
        "| `rate` | A rate. | a rate, or off | on | the end | `rate` |\n",
        "| `rate.bytes` | Bytes. | bytes | 240 |  |  |\n",
    );

    fn tree(limits: &str, names: &str, shown: &str) -> Tree {
        let text = format!("# Limits\n\n{START}{shown}{END}\n");
        Tree::of([(SOURCE, limits), (NAMES, names), (PATH, &text)])
    }

    #[test]
    fn the_table_is_drawn_from_the_comments() {
        assert_eq!(drawn(&rows(LIMITS)), DRAWN);
        assert_eq!(current(&tree(LIMITS, "Self::Max => \"max\",\n", DRAWN)), []);
    }

    #[test]
    fn a_stale_table_is_found() {
        assert!(current(&tree(LIMITS, "", "old\n"))[0].what.contains("stale"));
        assert!(current(&Tree::of([(SOURCE, LIMITS)]))[0].what.contains("no `<!-- limits -->`"));
    }

    #[test]
    fn a_field_without_a_default_and_a_name_without_a_field_are_found() {
        let silent = LIMITS.replace("    /// * Default: 240\n", "");
        let problems = current(&tree(&silent, "Self::Max => \"max\",\nSelf::Gone => \"gone\",\n", DRAWN));
        let whats: Vec<_> = problems.iter().map(|problem| &*problem.what).collect();
        assert!(whats[0].contains("`rate.bytes` does not say its default"), "{whats:?}");
        assert!(whats[1].contains("`gone`"), "{whats:?}");
    }
}
