//! Maps hash with a key drawn at random for each of them, so that no peer can choose what makes one a list.

use std::{fs, path::Path};

/// What would bring another hash into a map: the standard library's own is seeded at random for each.
const OTHERS: [&str; 11] = [
    "BuildHasher",
    "DefaultHasher",
    "_hasher(",
    "hashbrown",
    "ahash",
    "foldhash",
    "fxhash",
    "rustc_hash",
    "FxHash",
    "fnv::",
    "nohash",
];

/// Calls `look` with the path and the text of each source in `folder` and below; returns how many there are.
fn sources(folder: &Path, look: &mut impl FnMut(&Path, &str)) -> usize {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("it is read").path());
    paths
        .map(|path| {
            if path.is_dir() {
                return sources(&path, look);
            }
            look(&path, &fs::read_to_string(&path).expect("it is text"));
            1
        })
        .sum()
}

#[test]
fn a29_every_map_hashes_with_a_random_key() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut maps, mut seen) = (0, 0);
    for entry in fs::read_dir(crates).expect("the crates") {
        let folder = entry.expect("it is read").path().join("src");
        seen += sources(&folder, &mut |path, text| {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                maps += line.matches("HashMap<").count();
                let other = OTHERS.iter().find(|other| line.contains(**other));
                assert_eq!(other, None, "{}: {line}", path.display());
            }
        });
    }
    assert!(maps >= 5 && seen > 50, "{maps} maps in {seen} sources: they are looked for in the wrong place");
}
