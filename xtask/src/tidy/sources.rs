//! The shape of source files: a first sentence, a bounded length, tests last, no code in lib.rs.

use crate::fuzz;

use super::{
    Problem,
    tree::{self, Tree},
};

const LONGEST: usize = 500;

/// Every source starts by saying what it is, in one sentence.
pub(super) fn first_line(tree: &Tree) -> Vec<Problem> {
    let silent = tree.sources().filter(|(_, text)| {
        let sentence = text.lines().next().and_then(|line| line.strip_prefix("//! "));
        !sentence.is_some_and(|sentence| sentence.trim_end().ends_with(['.', ':', '?', '!']))
    });
    silent
        .map(|(path, _)| {
            let what = "the first line is no `//! sentence.`";
            Problem::new(
                format!("{path}:1"),
                what,
                "say on one line what the file is; ARCHITECTURE.md repeats it",
            )
        })
        .collect()
}

/// No source is longer than 500 lines, its tests aside, and nothing follows the tests.
pub(super) fn length(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.sources().filter(|(path, _)| !is_test(path)) {
        let lines = tree::code_lines(text);
        if lines > LONGEST {
            let what = format!("{lines} lines without the tests; {LONGEST} is the limit");
            problems.push(Problem::new(path, what, "split it by subject into `name.rs` and `name/`"));
        }
        let mut after = text.lines().enumerate().skip(lines).skip_while(|(_, line)| *line != "}").skip(1);
        let inline = text.lines().skip(lines).any(|line| line.starts_with("mod tests {"));
        if let Some((number, _)) = after.find(|(_, line)| inline && !line.trim().is_empty()) {
            let place = format!("{path}:{}", number + 1);
            problems.push(Problem::new(
                place,
                "code after `mod tests`",
                "move it above: the tests come last",
            ));
        }
    }
    problems
}

/// A `lib.rs` holds documentation, `mod` and `use` only.
pub(super) fn bare_lib(tree: &Tree) -> Vec<Problem> {
    let libs =
        tree.sources().filter(|(path, _)| path.starts_with("crates/") && path.ends_with("/src/lib.rs"));
    libs.filter_map(|(path, text)| {
        let item = items(text).into_iter().find(|item| !is_declaration(item))?;
        let start: String = item.chars().take(40).collect();
        let what = format!("lib.rs contains code: `{}`", start.trim());
        Some(Problem::new(path, what, "move it into a module; lib.rs declares and re-exports"))
    })
    .collect()
}

/// Every corpus belongs to a fuzz target, under the name where bolero looks for it; else it would be replayed by nothing.
pub(super) fn corpora(tree: &Tree) -> Vec<Problem> {
    let mut orphans: Vec<_> = tree
        .paths
        .iter()
        .filter_map(|path| {
            let (tests, rest) = path.split_once("/__fuzz__/")?;
            let (folder, _) = rest.split_once('/')?;
            let known =
                fuzz::names(tree.text(&format!("{tests}/fuzz.rs"))).any(|name| fuzz::folder(name) == folder);
            (!known).then(|| {
                let what = "no fuzz target replays this corpus";
                let remedy = format!(
                    "name the folder as the target without `fuzz_`, or write `fn fuzz_{folder}` in fuzz.rs"
                );
                Problem::new(format!("{tests}/__fuzz__/{folder}"), what, remedy)
            })
        })
        .collect();
    orphans.sort();
    orphans.dedup();
    orphans
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("/tests.rs")
}

fn is_declaration(item: &str) -> bool {
    let item = item.trim();
    let item = item.strip_prefix("pub").map_or(item, |rest| match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map_or(rest, |(_, rest)| rest),
        None => rest,
    });
    let item = item.trim_start();
    let declares = ["mod ", "use ", "extern crate "].iter().any(|word| item.starts_with(word));
    // `mod name { … }` would be code in lib.rs again; an empty one only carries documentation.
    declares && (!item.starts_with("mod ") || item.split_once('{').is_none_or(|(_, body)| body.trim() == "}"))
}

/// The items of a file without comments and attributes, each up to its `;` or the end of its braces.
fn items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut depth = 0_usize;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '/' if characters.peek() == Some(&'/') => {
                while characters.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            '#' if depth == 0 && item.trim().is_empty() => {
                skip_attribute(&mut characters);
                continue;
            }
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        item.push(c);
        let braces_end = c == '}' && !item.trim_start().contains("use ");
        if depth == 0 && (c == ';' || braces_end) {
            items.push(std::mem::take(&mut item));
        }
    }
    items.push(item);
    items.retain(|item| !item.trim().is_empty());
    items
}

fn skip_attribute(characters: &mut impl Iterator<Item = char>) {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for c in characters {
        match c {
            '"' if !escaped => in_string = !in_string,
            '[' if !in_string => depth += 1,
            ']' if !in_string => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if depth == 0 && c == ']' && !in_string {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Tree {
        Tree::of([("crates/net-a/src/lib.rs", text)])
    }

    #[test]
    fn a_file_must_say_what_it_is() {
        assert_eq!(first_line(&of("//! Frames of bytes.\n")), []);
        for silent in ["", "use a;\n", "//!\n", "// A comment.\n", "//! an unfinished\n"] {
            assert_eq!(first_line(&of(silent)).len(), 1, "{silent:?}");
        }
    }

    #[test]
    fn long_files_are_refused_and_their_tests_do_not_count() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    //\n".repeat(600));
        assert_eq!(length(&of(&format!("{}{tests}", "//\n".repeat(500)))), []);
        assert_eq!(length(&of(&format!("{}{tests}", "//\n".repeat(501)))).len(), 1);
        let long = "//\n".repeat(501);
        assert_eq!(length(&Tree::of([("crates/net-a/tests/laws.rs", &*long)])), []);
        assert_eq!(length(&Tree::of([("xtask/src/ci.rs", &*long)])).len(), 1);
    }

    #[test]
    fn nothing_follows_the_tests() {
        let text = "//! A.\n#[cfg(test)]\nmod tests {\n    fn a() {\n    }\n}\n\nfn late() {}\n";
        assert_eq!(length(&of(text))[0].place, "crates/net-a/src/lib.rs:8");
        assert_eq!(length(&of("//! A.\n#[cfg(test)]\nmod tests;\nmod b {\n}\nfn c() {}\n")), []);
    }

    #[test]
    fn a_lib_that_declares_passes() {
        let text = "//! Crate. `fn x() {}`\n#![doc(html_root_url = \"https://a/]\")]\n#![cfg_attr(docsrs, feature(doc_cfg))]\n\
            mod a;\npub(crate) mod b;\n#[cfg(feature = \"tls\")]\n/// Doc.\npub mod c;\n\
            pub use self::{\n    a::{A, B},\n    b::C,\n};\nuse d as _;\nextern crate alloc;\n\
            #[cfg(doctest)]\n#[doc = include_str!(\"../README.md\")]\nmod readme {}\n";
        assert_eq!(bare_lib(&of(text)), []);
    }

    #[test]
    fn a_lib_with_code_is_refused() {
        let codes = [
            "fn a() {}",
            "pub struct A;",
            "const A: u8 = 1;",
            "pub mod a { fn b() {} }",
            "macro! { a }",
            "impl A {}",
            "pub type A = B;",
        ];
        for code in codes {
            assert_eq!(bare_lib(&of(&format!("//! Crate.\npub use a::B;\n{code}\n"))).len(), 1, "{code}");
        }
        assert_eq!(bare_lib(&Tree::of([("crates/net-a/src/b.rs", "fn a() {}")])), []);
    }

    #[test]
    fn a_corpus_nobody_replays_is_found() {
        let fuzz = ("crates/a/tests/fuzz.rs", "fn fuzz_tlv() {}\n");
        let of =
            |folder: &str| Tree::of([fuzz, (&*format!("crates/a/tests/__fuzz__/{folder}/corpus/1"), "")]);
        assert_eq!(corpora(&of("tlv")), []);
        assert_eq!(corpora(&of("fuzz_tlv"))[0].place, "crates/a/tests/__fuzz__/fuzz_tlv");
    }
}
