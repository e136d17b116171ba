//! What docs/features.md and SECURITY.md claim: complete rows, and items and tests that exist.

use super::{Problem, tree::Tree};

/// The rows of the specification, as a letter and how many rows there are.
const FEATURES: [(char, u32); 11] = [
    ('U', 8),
    ('S', 13),
    ('M', 18),
    ('T', 2),
    ('H', 8),
    ('W', 4),
    ('Q', 4),
    ('G', 7),
    ('F', 5),
    ('I', 4),
    ('P', 4),
];
/// Attacks and faults, and the defects of a predecessor.
const THREATS: [(char, u32); 2] = [('A', 40), ('D', 17)];

const OPEN: &str = "not yet";

/// docs/features.md has a row for each id of the specification, and what the rows name exists.
pub(super) fn features(tree: &Tree) -> Vec<Problem> {
    let path = "docs/features.md";
    let rows = rows(tree.text(path), path);
    let mut problems = complete(&rows, &FEATURES, path);
    for row in &rows {
        let [_, item, test] = row.cells[..] else {
            problems.push(row.problem("not of the form | id | row | item | test |", "give it four cells"));
            continue;
        };
        problems.extend(names(item).chain(names(test)).filter_map(|name| {
            let remedy =
                "name what exists: `crate::Item`, `path/file.rs::test`, `path`, `net command` or `cargo …`";
            (!exists(tree, name))
                .then(|| row.problem(&format!("names `{name}`, which does not exist"), remedy))
        }));
        if !test.starts_with(OPEN) && !names(test).any(is_test) {
            problems.push(
                row.problem("proves nothing", "name a test as `path/file.rs::test`, or say \"not yet\""),
            );
        }
    }
    problems
}

/// SECURITY.md has a row for each attack, and a row that claims a defence names a test that carries its id.
pub(super) fn threats(tree: &Tree) -> Vec<Problem> {
    let path = "SECURITY.md";
    let rows = rows(tree.text(path), path);
    let mut problems = complete(&rows, &THREATS, path);
    for row in &rows {
        let [_, _, test] = row.cells[..] else {
            problems
                .push(row.problem("not of the form | id | attack | defence | test |", "give it four cells"));
            continue;
        };
        for name in names(test).filter(|name| !exists(tree, name)) {
            let remedy = "name a test that exists as `path/file.rs::test`";
            problems.push(row.problem(&format!("names `{name}`, which does not exist"), remedy));
        }
        let id = row.id.to_lowercase();
        let carries =
            |name: &str| name.rsplit("::").next().is_some_and(|name| name.split('_').any(|part| part == id));
        if !test.starts_with(OPEN) && !names(test).any(|name| is_test(name) && carries(name)) {
            let remedy = format!("name one as `path/file.rs::{id}_…`, or say \"not yet\"");
            problems.push(row.problem("names no test that carries its id", &remedy));
        }
    }
    problems
}

/// A row of a table whose first cell is an id.
#[derive(Debug)]
struct Row<'a> {
    place: String,
    id: &'a str,
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn problem(&self, what: &str, remedy: &str) -> Problem {
        Problem::new(&*self.place, format!("row {} {what}", self.id), remedy)
    }
}

fn rows<'a>(text: &'a str, path: &str) -> Vec<Row<'a>> {
    let numbered = text.lines().enumerate();
    numbered
        .filter_map(|(at, line)| {
            let mut cells = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
            let id = cells.next()?;
            let (letter, number) = id.split_at_checked(1)?;
            let is_id = letter.chars().all(|c| c.is_ascii_uppercase()) && number.parse::<u32>().is_ok();
            is_id.then(|| Row { place: format!("{path}:{}", at + 1), id, cells: cells.collect() })
        })
        .collect()
}

fn complete(rows: &[Row<'_>], groups: &[(char, u32)], path: &str) -> Vec<Problem> {
    let ids: Vec<_> =
        groups.iter().flat_map(|(c, count)| (1..=*count).map(move |n| format!("{c}{n}"))).collect();
    let absent = ids.iter().filter(|id| !rows.iter().any(|row| row.id == **id));
    let absent =
        absent.map(|id| Problem::new(path, format!("no row for {id}"), "add it, as \"not yet\" if need be"));
    let strange = rows.iter().enumerate().filter(|(at, row)| {
        !ids.iter().any(|id| id == row.id) || rows.iter().take(*at).any(|earlier| earlier.id == row.id)
    });
    let strange =
        strange.map(|(_, row)| row.problem("is unknown or there twice", "one row for each id, no others"));
    absent.chain(strange).collect()
}

/// What stands in `code` marks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn is_test(name: &str) -> bool {
    name.contains(".rs::")
}

fn exists(tree: &Tree, name: &str) -> bool {
    if let Some((path, test)) = name.split_once(".rs::") {
        let test = test.rsplit("::").next().unwrap_or(test);
        return declares(tree.text(&format!("{path}.rs")), "fn", test);
    }
    if name.starts_with("cargo ") {
        return true;
    }
    if let Some(command) = name.strip_prefix("net ") {
        let command = command.split(' ').next().unwrap_or_default();
        let variant: String =
            command.chars().take(1).flat_map(char::to_uppercase).chain(command.chars().skip(1)).collect();
        return tree
            .sources()
            .any(|(path, text)| path.starts_with("crates/net-cli/src/") && has_word(text, &variant));
    }
    if name.contains("::") {
        return item_exists(tree, name);
    }
    let folder = format!("{name}/");
    tree.paths.iter().any(|path| path == name || path.starts_with(&folder))
}

/// Whether the crate that `name` begins with declares its last part, or its last part beside the one before.
fn item_exists(tree: &Tree, name: &str) -> bool {
    let parts: Vec<_> = name.split("::").collect();
    let [package, before @ .., last] = &parts[..] else { return false };
    let package = package.replace('_', "-");
    let Some(package) = tree.packages.iter().find(|it| it.name == package) else { return false };
    let folder = format!("{}/src/", package.prefix());
    let kinds = ["struct", "enum", "trait", "fn", "type", "const", "static", "mod", "union", "macro_rules!"];
    let declared = |text: &str, name: &str| kinds.iter().any(|kind| declares(text, kind, name));
    let texts = tree.sources().filter(|(path, _)| path.starts_with(&folder)).map(|(_, text)| text);
    texts.into_iter().any(|text| {
        declared(text, last)
            || before.last().is_some_and(|before| declared(text, before) && has_word(text, last))
    })
}

fn declares(text: &str, kind: &str, name: &str) -> bool {
    let declaration = format!("{kind} {name}");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| has_word(line, &declaration))
}

/// Whether `text` has `word` with nothing that belongs to a name on either side, comments included.
fn has_word(text: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, rest) = (text.get(..at), text.get(at + word.len()..));
        !before.is_some_and(|it| it.ends_with(in_name)) && !rest.is_some_and(|it| it.starts_with(in_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(groups: &[(char, u32)], change: (&str, &str)) -> String {
        let ids = groups.iter().flat_map(|(c, count)| (1..=*count).map(move |n| format!("{c}{n}")));
        ids.map(|id| match change {
            (changed, line) if changed == id => format!("{line}\n"),
            _ => format!("| {id} | text | | not yet |\n"),
        })
        .collect()
    }

    fn tree(features: &str, threats: &str) -> Tree {
        let address = "//! A.\npub struct Address;\nimpl Address {\n    pub fn parse() {}\n}\npub enum Kind { Closed }\n";
        Tree::of([
            ("docs/features.md", features),
            ("SECURITY.md", threats),
            ("crates/net-core/src/address.rs", address),
            (
                "crates/net-core/tests/address.rs",
                "#[test]\nfn a10_bad_input_is_named() {}\n// fn gone() {}\n",
            ),
            ("crates/net-cli/src/main.rs", "enum Command { Echo }\n"),
        ])
        .with("net-core", &[])
    }

    fn feature(line: &str) -> Vec<Problem> {
        features(&tree(&table(&FEATURES, ("U1", line)), ""))
    }

    #[test]
    fn complete_tables_without_claims_pass() {
        let tree = tree(&table(&FEATURES, ("", "")), &table(&THREATS, ("", "")));
        assert_eq!(features(&tree), []);
        assert_eq!(threats(&tree), []);
    }

    #[test]
    fn rows_that_are_missing_unknown_or_doubled_are_found() {
        assert!(feature("")[0].what.contains("no row for U1"));
        assert!(
            feature("| U1 | a | | not yet |\n| X1 | a | | not yet |")[0].what.contains("row X1 is unknown")
        );
        assert!(feature("| U1 | a | | not yet |\n| U2 | a | | not yet |")[0].what.contains("there twice"));
    }

    #[test]
    fn a_claim_whose_items_and_test_exist_passes() {
        let test = "`crates/net-core/tests/address.rs::a10_bad_input_is_named`";
        let items = [
            "`net_core::Address`",
            "`net_core::Address::parse`",
            "`net_core::Kind::Closed`",
            "`net echo`",
            "`crates/net-core/src`",
            "`cargo xtask ci`",
        ];
        for item in items {
            assert_eq!(feature(&format!("| U1 | a | {item} | {test} |")), [], "{item}");
        }
    }

    #[test]
    fn a_claim_of_something_that_does_not_exist_is_found() {
        let items = [
            "`net_core::Gone`",
            "`net_core::Kind::Gone`",
            "`net_gone::Address`",
            "`net gone`",
            "`crates/gone`",
            "`gone`",
        ];
        for item in items {
            assert_eq!(feature(&format!("| U1 | a | {item} | not yet |")).len(), 1, "{item}");
        }
        let gone = feature("| U1 | a | `net_core::Address` | `crates/net-core/tests/address.rs::gone` |");
        assert!(gone[0].what.contains("::gone`, which does not exist"));
    }

    #[test]
    fn a_claim_without_a_test_is_found() {
        assert!(feature("| U1 | a | `net_core::Address` | by hand |")[0].what.contains("proves nothing"));
        assert!(feature("| U1 | a | `net_core::Address` |")[0].what.contains("not of the form"));
    }

    #[test]
    fn a_defence_is_proven_by_a_test_of_its_id() {
        let row = |id: &str| {
            format!("| {id} | a | b | `crates/net-core/tests/address.rs::a10_bad_input_is_named` |")
        };
        let threats = |id: &str| threats(&tree("", &table(&THREATS, (id, &row(id)))));
        assert_eq!(threats("A10"), []);
        assert!(threats("A1")[0].what.contains("row A1 names no test that carries its id"));
    }
}
