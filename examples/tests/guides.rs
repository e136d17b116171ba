//! The guides: what they name exists, their programs are tested, and a trace shows what they say.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
mod example;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The guides and decisions, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["docs/guides", "docs/adr"].map(|folder| root().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the folder is there"));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let documents: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("it can be read")))
        .collect();
    assert!(documents.len() >= 6);
    documents
}

/// The headings of a document as the anchors that they are.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            words.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

#[test]
fn d17_every_link_leads_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).expect("a text");
                assert!(anchors(&text).iter().any(|known| known == anchor), "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn d17_every_test_and_example_that_is_named_exists() {
    let manifest = include_str!("../Cargo.toml");
    for (path, text) in documents() {
        for (file, test) in text.split('`').filter_map(|code| code.split_once(".rs::")) {
            let source = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
            assert!(source.contains(&format!("fn {test}(")), "{}: {file}.rs::{test}", path.display());
        }
        for name in
            text.split("--example ").skip(1).filter_map(|rest| rest.split(['`', '\n', ' ', ')']).next())
        {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{}: {name}", path.display());
        }
    }
}

#[test]
fn d17_every_program_in_a_guide_is_compiled_and_run() {
    let library = include_str!("../src/lib.rs");
    for (path, text) in documents().into_iter().filter(|(_, text)| text.contains("```rust")) {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        assert!(
            library.contains(&format!("/{name}\")]")),
            "{name} has a program, but is no part of src/lib.rs"
        );
        assert!(!text.contains("```rust,"), "{name}: a program that is not run");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn c11_a_trace_shows_the_order_of_the_calls() {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpStream},
    };

    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("trace");
    let calls = "trace=%network,close,read,readv,write,writev,epoll_wait";
    let command = ["strace", "-f", "-e", calls, "-o", trace.to_str().expect("a path in Unicode")];
    let server = example::Example::start_under(&command, "lines_server", &[]);
    let address = server.address();
    let mut stream = TcpStream::connect(address.trim_start_matches("tcp://")).expect("it listens");
    stream.write_all(b"echo hello\n").expect("it reads");
    stream.shutdown(Shutdown::Write).expect("is connected");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and finishes");
    assert_eq!(answer, "hello\n");
    server.interrupt_child();
    assert_eq!(server.rest(), "");

    let trace = fs::read_to_string(trace).expect("strace writes it");
    // The call that accepted, and all on the descriptor that it gave until that is closed.
    let accepted = trace.lines().position(|line| line.contains("accept4(") && line.contains("htons("));
    let lines: Vec<_> = trace.lines().skip(accepted.expect("a connection was accepted")).collect();
    let descriptor = lines[0].rsplit("= ").next().expect("what it gave");
    let on_it = |name: &&str| lines.iter().any(|line| line.contains(&format!("{name}({descriptor},")));
    let place = |start: &str| {
        lines.iter().position(|line| line.contains(start)).unwrap_or_else(|| panic!("{start}\n{trace}"))
    };
    assert!(["recvfrom", "sendto", "shutdown"].iter().all(on_it), "{trace}");
    let order = [
        place(&format!("recvfrom({descriptor}, \"echo hello\\n\"")),
        place(&format!("sendto({descriptor}, \"hello\\n\"")),
        place(&format!("shutdown({descriptor}, SHUT_WR)")),
        place(&format!("close({descriptor})")),
    ];
    assert!(order.is_sorted(), "{trace}");
    let sent = lines[order[1]];
    assert!(sent.contains("MSG_NOSIGNAL"), "{sent}");
    // The peer's end is seen before this side's own.
    let end = place(&format!("recvfrom({descriptor}, \"\""));
    assert!(end < order[2], "{trace}");
}
