//! Which crate may know which: dependencies point one way, towards net-core.

use super::{
    Problem,
    tree::{self, Tree},
};

const TRANSPORTS: [&str; 6] = ["net-tcp", "net-udp", "net-ws", "net-quic", "net-http", "net-grpc"];
const DECORATORS: [&str; 4] = ["net-logger", "net-metrics", "net-thread-pool", "net-container"];
const ENGINE: &[&str] = &["net-core", "net-messaging"];

/// Each crate, and what it may depend on. Tests (`dev-dependencies`) may use whatever they need.
const MAY_KNOW: [(&[&str], &[&[&str]]); 9] = [
    (&["net-core", "xtask"], &[]),
    (&["net-tcp", "net-udp", "net-quic", "net-messaging"], &[&["net-core"]]),
    (&["net-ws", "net-http", "net-grpc"], &[&["net-core", "net-tcp"]]),
    (&DECORATORS, &[ENGINE]),
    (&["net-facade"], &[ENGINE, &TRANSPORTS, &DECORATORS]),
    (&["net-cli"], &[ENGINE, &TRANSPORTS, &DECORATORS, &["net-facade"]]),
    (&["net-examples"], &[ENGINE, &TRANSPORTS, &DECORATORS, &["net-facade"]]),
    (&["net-benches"], &[ENGINE, &TRANSPORTS, &DECORATORS, &["net-facade"]]),
    (&["net-bench-peers"], &[&["net-benches"]]),
];

/// Dependencies between the workspace's crates are those of the table.
pub(super) fn crates(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in &tree.packages {
        let place = format!("{}/Cargo.toml", package.prefix());
        let Some((_, known)) = MAY_KNOW.iter().find(|(crates, _)| crates.contains(&&*package.name)) else {
            let what = format!("the crate {} has no place in the direction of crates", package.name);
            problems.push(Problem::new(
                place,
                what,
                "give it a row in xtask/src/tidy/direction.rs, or rename it",
            ));
            continue;
        };
        let ours = |name: &str| tree.packages.iter().any(|package| package.name == name);
        let allowed = |name: &str| known.iter().any(|group| group.contains(&name));
        for dependency in &package.dependencies {
            let in_tests = dependency.kind.as_deref() == Some("dev");
            if !in_tests
                && ours(&dependency.name)
                && !allowed(&dependency.name)
                && dependency.name != package.name
            {
                let known = known.concat().join(", ");
                problems.push(Problem::new(
                    place.clone(),
                    format!("{} depends on {}, against the direction of crates", package.name, dependency.name),
                    format!(
                        "it may know {}; move what is shared into net-core, or what joins both into net-facade",
                        if known.is_empty() { "no other crate" } else { &known }
                    ),
                ));
            }
        }
    }
    problems
}

/// The protocols over TCP know of net-tcp its byte stream alone.
pub(super) fn byte_streams(tree: &Tree) -> Vec<Problem> {
    let over_tcp = |path: &str| ["net-ws", "net-http", "net-grpc"].iter().any(|name| in_crate(path, name));
    let other = |line: &str| line.split("net_tcp::").skip(1).any(|after| !after.starts_with("stream"));
    let sources = tree.sources().filter(|(path, _)| over_tcp(path));
    let lines =
        sources.flat_map(|(path, text)| tree::code(text).map(move |(number, line)| (path, number, line)));
    lines
        .filter(|(_, _, line)| other(line))
        .map(|(path, number, _)| {
            let what = "a protocol over TCP reaches into net-tcp beyond its byte stream";
            Problem::new(
                format!("{path}:{number}"),
                what,
                "use net_tcp::stream, or move what is needed there",
            )
        })
        .collect()
}

/// The sans-I/O codecs of net-core neither wait nor ask what time it is.
pub(super) fn decoders(tree: &Tree) -> Vec<Problem> {
    let codecs = ["frame.rs", "frame/", "message.rs"].map(|codec| format!("crates/net-core/src/{codec}"));
    let sources =
        tree.sources().filter(|(path, _)| codecs.iter().any(|codec| path.starts_with(codec.as_str())));
    let lines =
        sources.flat_map(|(path, text)| tree::code(text).map(move |(number, line)| (path, number, line)));
    lines
        .filter_map(|(path, number, line)| {
            let found = [".await", "Instant::now", "SystemTime", "poll_read"]
                .into_iter()
                .find(|it| line.contains(it))?;
            let what = format!("a codec contains `{found}`; codecs neither wait nor read a clock");
            Some(Problem::new(
                format!("{path}:{number}"),
                what,
                "move it to framed.rs or blocking.rs, which drive codecs",
            ))
        })
        .collect()
}

fn in_crate(path: &str, name: &str) -> bool {
    path.strip_prefix("crates/")
        .and_then(|path| path.strip_prefix(name))
        .is_some_and(|path| path.starts_with("/src/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_of_the_design_passes() {
        let tree = Tree::default()
            .with("net-core", &[("bytes", None)])
            .with("net-tcp", &[("net-core", None), ("net-messaging", Some("dev"))])
            .with("net-messaging", &[("net-core", None)])
            .with("net-cli", &[("net-core", None), ("net-tcp", None), ("net-messaging", None)]);
        assert_eq!(crates(&tree), []);
    }

    #[test]
    fn an_engine_that_knows_a_socket_is_refused() {
        let tree = Tree::default().with("net-tcp", &[]).with("net-messaging", &[("net-tcp", None)]);
        let [problem] = &crates(&tree)[..] else { panic!("one problem expected") };
        assert_eq!(problem.place, "crates/net-messaging/Cargo.toml");
        assert!(problem.what.contains("net-messaging depends on net-tcp"), "{problem}");
    }

    #[test]
    fn net_core_knows_no_other_crate() {
        let tree = Tree::default().with("net-tcp", &[]).with("net-core", &[("net-tcp", Some("build"))]);
        assert!(crates(&tree)[0].remedy.contains("no other crate"));
    }

    #[test]
    fn a_crate_without_a_place_is_refused() {
        assert!(crates(&Tree::default().with("net-misc", &[]))[0].what.contains("no place"));
    }

    #[test]
    fn websocket_code_uses_the_byte_stream_only() {
        let text = "use net_tcp::stream::Stream;\nuse net_tcp::TcpConfig;\n// net_tcp::TcpConfig\n";
        let problems =
            byte_streams(&Tree::of([("crates/net-ws/src/lib.rs", text), ("crates/net-cli/src/a.rs", text)]));
        assert_eq!(
            problems.iter().map(|problem| &*problem.place).collect::<Vec<_>>(),
            ["crates/net-ws/src/lib.rs:2"]
        );
    }

    #[test]
    fn a_codec_that_waits_is_refused() {
        let text = "fn a() {}\nlet now = Instant::now();\n#[cfg(test)]\nmod tests {\nx.await\n}\n";
        let problems = decoders(&Tree::of([("crates/net-core/src/frame/tlv.rs", text)]));
        assert_eq!(
            problems.iter().map(|problem| &*problem.place).collect::<Vec<_>>(),
            ["crates/net-core/src/frame/tlv.rs:2"]
        );
        assert_eq!(decoders(&Tree::of([("crates/net-core/src/framed.rs", text)])), []);
    }
}
