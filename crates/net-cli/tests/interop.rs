//! An independent client, written in Python with its standard library alone, against the echo server.

mod rig;

use rig::{Server, framed, released};

fn every_action(format: &str) {
    let server = Server::tcp(&format!("--format {format}"));
    let directory = tempfile::tempdir().expect("a directory");
    let mut random = fastrand::Rng::with_seed(1);
    for (number, len) in [0, 1, 6, 7, 64, 4096, 70_000, 3 << 20].into_iter().enumerate() {
        let content: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        std::fs::write(directory.path().join(number.to_string()), content).expect("writes");
    }
    let directory = directory.path().to_str().expect("is text");
    let framed =
        |action, arguments: &[&str]| framed(&server, action, &[arguments, &["--format", format]].concat());
    framed("send", &["grüße"]);
    framed("dribble", &[]);
    framed("burst", &["--count", "20000", "--size", "100"]);
    framed("burst", &["--count", "20", "--size", "900000"]);
    framed("halfclose", &[]);
    framed("truncate", &[]);
    framed("oversize", &[]);
    let files = framed("files", &[directory]);
    assert!(files.contains("8 files") && files.contains("3219902 bytes"), "{files}");
}

#[test]
fn s1_an_independent_client_is_served_in_raw_format() {
    every_action("raw");
}

#[test]
fn m7_an_independent_client_is_served_in_message_format() {
    every_action("message");
    let server = Server::tcp("--format message");
    framed(&server, "send", &["hello", "--format", "message", "--kind", "2"]);
}

/// Streams the toolchain's own libraries, hundreds of megabytes, and compares every byte.
fn every_file_of_the_toolchain(format: &str) {
    let printed =
        std::process::Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
    let sysroot = String::from_utf8(printed.stdout).expect("is text");
    let directory = std::path::Path::new(sysroot.trim()).join("lib");
    let bytes = regular_files(&directory);
    assert!(bytes > 100 << 20, "{} has {bytes} bytes only", directory.display());

    let server = Server::start(released(), "tcp://127.0.0.1:0", &format!("--format {format}"));
    let directory = directory.to_str().expect("is text");
    let line = framed(&server, "files", &[directory, "--limit-mb", "100000", "--format", format]);
    assert!(line.contains(&format!(" {bytes} bytes")), "{line}: {bytes} are there");
}

/// The bytes of all regular files, links not followed.
fn regular_files(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("is a directory").map(|entry| entry.expect("is read"));
    let len = |entry: std::fs::DirEntry| {
        let kind = entry.file_type().expect("has a type");
        match () {
            () if kind.is_dir() => regular_files(&entry.path()),
            () if kind.is_file() => entry.metadata().expect("is there").len(),
            () => 0,
        }
    };
    entries.map(len).sum()
}

#[test]
fn real_files_come_back_unchanged_in_raw_format() {
    every_file_of_the_toolchain("raw");
}

#[test]
fn real_files_come_back_unchanged_in_message_format() {
    every_file_of_the_toolchain("message");
}
