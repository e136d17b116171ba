//! What every manifest shares comes from the root: package fields, lints, versions of dependencies.

use toml::{Table, Value};

use super::{
    Problem,
    tree::{Package, Tree},
};

const INHERITED: [&str; 6] = ["version", "edition", "rust-version", "license", "repository", "publish"];
/// The peers of the benches belong to this package alone, so their versions stand in its own manifest.
const OWN_VERSIONS: &str = "net-bench-peers";

/// Package fields and lints are inherited from the root.
pub(super) fn inherited(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (package, place, manifest) in manifests(tree, &mut problems) {
        let fields = manifest.get("package").and_then(Value::as_table);
        let missing =
            INHERITED.iter().filter(|field| !fields.is_some_and(|fields| inherits(fields.get(**field))));
        for field in missing {
            let what = format!("{} does not inherit `{field}`", package.name);
            problems.push(Problem::new(
                &*place,
                what,
                format!("write `{field}.workspace = true` under [package]"),
            ));
        }
        if !inherits(manifest.get("lints")) {
            let what = format!("{} does not inherit the lints", package.name);
            problems.push(Problem::new(&*place, what, "write `[lints]` and `workspace = true`"));
        }
    }
    problems
}

/// No manifest but the root's names the version of a dependency.
pub(super) fn dependencies(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (package, place, manifest) in manifests(tree, &mut problems) {
        if package.name == OWN_VERSIONS {
            continue;
        }
        let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let holders = targets.filter_map(Value::as_table).chain([&manifest]);
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        let lists = holders.flat_map(|holder| kinds.map(|kind| holder.get(kind).and_then(Value::as_table)));
        for (name, value) in lists.flatten().flatten() {
            // A crate may name itself by its own folder, to switch on features for its tests.
            let itself =
                value.get("path").and_then(Value::as_str) == Some(".") && value.get("version").is_none();
            if !inherits(Some(value)) && !itself {
                let what = format!("{} names `{name}` with a version of its own", package.name);
                let remedy = format!(
                    "put it, with the reason for it, under [workspace.dependencies] of the root; here `{name}.workspace = true`"
                );
                problems.push(Problem::new(&*place, what, remedy));
            }
        }
    }
    problems
}

/// The feature `full` of net-facade switches on every other one.
pub(super) fn full(tree: &Tree) -> Vec<Problem> {
    let facades = tree.packages.iter().filter(|package| package.name == "net-facade");
    facades
        .flat_map(|facade| {
            let full = facade.features.get("full").map_or(&[][..], Vec::as_slice);
            let others = facade.features.keys().filter(|name| !["default", "full"].contains(&name.as_str()));
            others.filter(|name| !full.contains(*name)).map(|name| {
                let what = format!("the feature `full` of net-facade lacks `{name}`");
                Problem::new(
                    format!("{}/Cargo.toml", facade.prefix()),
                    what,
                    format!("add \"{name}\" to `full`"),
                )
            })
        })
        .collect()
}

/// Every package with the place and content of its manifest; one that cannot be read becomes a problem.
fn manifests<'a>(tree: &'a Tree, problems: &mut Vec<Problem>) -> Vec<(&'a Package, String, Table)> {
    let mut manifests = Vec::new();
    for package in &tree.packages {
        let place = format!("{}/Cargo.toml", package.prefix());
        match tree.text(&place).parse() {
            Ok(manifest) => manifests.push((package, place, manifest)),
            Err(error) => {
                problems.push(Problem::new(place, format!("not readable: {error}"), "mend the manifest"));
            }
        }
    }
    manifests
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"net-a\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\nrepository.workspace = true\npublish.workspace = true\n\
        [dependencies]\nbytes.workspace = true\ntokio = { workspace = true, features = [\"net\"] }\n\
        [dev-dependencies]\nnet-a = { path = \".\", features = [\"testing\"] }\n[lints]\nworkspace = true\n";

    fn tree(manifest: &str) -> Tree {
        Tree::of([("crates/net-a/Cargo.toml", manifest)]).with("net-a", &[])
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert_eq!(inherited(&tree(GOOD)), []);
        assert_eq!(dependencies(&tree(GOOD)), []);
    }

    #[test]
    fn each_field_must_be_inherited() {
        for field in INHERITED {
            let broken = GOOD.replace(&format!("\n{field}.workspace = true"), &format!("\n{field} = \"1\""));
            let [problem] = &inherited(&tree(&broken))[..] else {
                panic!("one problem expected for {field}")
            };
            assert!(problem.what.contains(&format!("`{field}`")), "{problem}");
        }
        assert_eq!(inherited(&tree(&GOOD.replace("[lints]\nworkspace = true", ""))).len(), 1);
    }

    #[test]
    fn a_version_of_its_own_is_refused_in_every_kind_of_list() {
        let more = [
            "[build-dependencies]\ncc = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\nlibc = { version = \"1\" }\n",
            "[target.'cfg(unix)'.dev-dependencies]\nother = { path = \"../other\" }\n",
        ];
        for more in more {
            assert_eq!(dependencies(&tree(&format!("{GOOD}{more}"))).len(), 1, "{more}");
        }
        let plain = GOOD.replace("bytes.workspace = true", "bytes = \"1.12\"");
        assert!(dependencies(&tree(&plain))[0].what.contains("`bytes`"));
    }

    #[test]
    fn the_benches_name_the_versions_of_their_peers() {
        let manifest = GOOD.replace("bytes.workspace = true", "ntex = \"3.12\"");
        let tree = Tree::of([("crates/net-bench-peers/Cargo.toml", &*manifest)]).with("net-bench-peers", &[]);
        assert_eq!(dependencies(&tree), []);
    }

    #[test]
    fn full_must_be_complete() {
        let mut tree = Tree::default().with("net-facade", &[]);
        let features = [("default", vec!["tcp"]), ("full", vec!["tcp"]), ("tcp", vec![]), ("ws", vec![])];
        tree.packages[0].features = features
            .into_iter()
            .map(|(name, parts)| (name.to_owned(), parts.into_iter().map(str::to_owned).collect()))
            .collect();
        assert!(full(&tree)[0].what.contains("lacks `ws`"));
        tree.packages[0].features.get_mut("full").unwrap().push("ws".to_owned());
        assert_eq!(full(&tree), []);
    }
}
