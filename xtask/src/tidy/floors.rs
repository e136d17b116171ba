//! The version floors that deny.toml must hold: dependencies below them have published defects.

use toml::{Table, Value};

use super::{Problem, tree::Tree};

/// What deny.toml refuses: the crate, the versions that must not be used, and the advisory or fact that says why.
///
/// The table repeats deny.toml so that no floor is lost in an edit of it.
const FLOORS: [(&str, &str, &str); 32] = [
    ("bytes", "<1.11.1", "RUSTSEC-2026-0007"),
    ("h2", "<0.4.16", "RUSTSEC-2026-0258"),
    ("quinn-proto", "<0.11.15", "RUSTSEC-2026-0185"),
    ("rustls-webpki", "<0.103.13", "RUSTSEC-2026-0104"),
    ("rustls", "<0.23.18", "RUSTSEC-2024-0399"),
    ("tungstenite", "<0.20.1", "RUSTSEC-2023-0065"),
    ("hickory-proto", "<0.26.1", "RUSTSEC-2026-0119"),
    ("hickory-net", "<0.26.1", "RUSTSEC-2026-0120"),
    ("tonic", "<0.12.3", "RUSTSEC-2024-0376"),
    ("tokio", "<1.44.2", "RUSTSEC-2025-0023"),
    ("tracing-subscriber", "<0.3.20", "RUSTSEC-2025-0055"),
    ("protobuf", "<3.7.2", "RUSTSEC-2024-0437"),
    ("lz4_flex", "<0.11.6", "RUSTSEC-2026-0041"),
    ("lz4_flex", "=0.12.0", "RUSTSEC-2026-0041"),
    ("lru", "<0.18.2", "RUSTSEC-2026-0253"),
    ("slab", "=0.4.10", "RUSTSEC-2025-0047"),
    ("scc", "<3.8.4", "RUSTSEC-2026-0205"),
    ("crossbeam-epoch", "<0.9.20", "RUSTSEC-2026-0204"),
    ("async-nats", "<0.29.0", "RUSTSEC-2023-0027"),
    ("hyper-util", "<0.1.18", "tokio::time::pause"),
    ("bincode", "*", "RUSTSEC-2025-0141"),
    ("backoff", "*", "RUSTSEC-2025-0012"),
    ("rustls-pemfile", "*", "RUSTSEC-2025-0134"),
    ("number_prefix", "*", "RUSTSEC-2025-0119"),
    ("paste", "*", "RUSTSEC-2024-0436"),
    ("derivative", "*", "RUSTSEC-2024-0388"),
    ("async-std", "*", "RUSTSEC-2025-0052"),
    ("instant", "*", "RUSTSEC-2024-0384"),
    ("surf", "*", "RUSTSEC-2026-0169"),
    ("tide", "*", "RUSTSEC-2026-0170"),
    ("multipart", "*", "RUSTSEC-2023-0050"),
    ("ws", "*", "RUSTSEC-2020-0043"),
];

/// Every floor is a ban in deny.toml, with its reason.
pub(super) fn banned(tree: &Tree) -> Vec<Problem> {
    let deny: Table = match tree.text("deny.toml").parse() {
        Ok(deny) => deny,
        Err(error) => {
            return vec![Problem::new("deny.toml", format!("not readable: {error}"), "mend the file")];
        }
    };
    let bans = deny.get("bans").and_then(|bans| bans.get("deny")).and_then(Value::as_array);
    let bans: Vec<_> = bans.into_iter().flatten().filter_map(ban).collect();
    let absent = FLOORS.iter().filter(|(name, versions, reason)| {
        let specification = specification(name, versions);
        !bans.iter().any(|(banned, why)| *banned == specification && why.contains(reason))
    });
    absent
        .map(|(name, versions, reason)| {
            let line =
                format!("{{ crate = \"{}\", reason = \"{reason}: …\" }}", specification(name, versions));
            let what = format!("no ban holds the floor of {name} ({reason})");
            Problem::new("deny.toml", what, format!("add to `bans.deny`: {line}"))
        })
        .collect()
}

fn specification(name: &str, versions: &str) -> String {
    if versions == "*" { name.to_owned() } else { format!("{name}@{versions}") }
}

fn ban(value: &Value) -> Option<(&str, &str)> {
    Some((value.get("crate")?.as_str()?, value.get("reason")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deny_toml() -> String {
        let bans = FLOORS.iter().map(|(name, versions, reason)| {
            format!("{{ crate = \"{}\", reason = \"{reason}: because\" }},\n", specification(name, versions))
        });
        format!("[bans]\ndeny = [\n{}]\n", bans.collect::<String>())
    }

    #[test]
    fn a40_the_deny_toml_of_this_workspace_holds_every_floor() {
        assert_eq!(banned(&Tree::of([("deny.toml", include_str!("../../../deny.toml"))])), []);
    }

    #[test]
    fn a40_a_floor_missing_from_deny_toml_is_found() {
        assert_eq!(banned(&Tree::of([("deny.toml", &*deny_toml())])), []);
        for (name, versions, _) in FLOORS {
            let line = format!("{{ crate = \"{}\",", specification(name, versions));
            let without: String = deny_toml()
                .lines()
                .filter(|it| !it.starts_with(&line))
                .fold(String::new(), |all, it| all + it + "\n");
            let [problem] = &banned(&Tree::of([("deny.toml", &*without)]))[..] else {
                panic!("one problem expected for {name}")
            };
            assert!(problem.what.contains(&format!("floor of {name} ")), "{problem}");
        }
    }

    #[test]
    fn a40_a_weakened_floor_or_a_ban_without_its_reason_is_found() {
        let weaker = deny_toml().replace("bytes@<1.11.1", "bytes@<1.0.0");
        assert_eq!(banned(&Tree::of([("deny.toml", &*weaker)])).len(), 1);
        let silent = deny_toml().replace("RUSTSEC-2026-0258: because", "because");
        assert_eq!(banned(&Tree::of([("deny.toml", &*silent)])).len(), 1);
    }

    #[test]
    fn an_unreadable_deny_toml_is_a_problem() {
        assert_eq!(banned(&Tree::of([("deny.toml", "[bans")])).len(), 1);
    }
}
