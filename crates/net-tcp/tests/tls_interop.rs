//! TLS against others: openssl as client and as server, Python's ssl as a client.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use authority::{Authority, LOCAL, Pair};
use net_core::{
    Address, Listener, Transport,
    frame::Delimiter,
    tls::{Pem, TlsInfo, TlsVersion},
};
use net_tcp::Tcp;
use rig::{at, soon};

/// An authority's files.
struct Files {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a directory"),
            authority: Authority::new("interop"),
        };
        files.write("ca.pem", &files.authority.pem);
        for name in ["server", "client"] {
            let Pair { chain, key } = files.authority.leaf(&LOCAL);
            files.write(&format!("{name}.pem"), &chain);
            files.write(&format!("{name}.key"), &key);
        }
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Runs a program on a thread of its own, with `input`, to its end.
async fn run(mut command: Command, input: &'static [u8]) -> Output {
    let running = tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; apt-get install openssl python3"));
        child.stdin.take().expect("piped").write_all(input).expect("written");
        child.wait_with_output().expect("it ends")
    });
    soon("the program's end", running).await.expect("no panic")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn s_client(files: &Files, to: &Address, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &rig::socket(to).to_string(), "-servername", "localhost"]);
    command
        .args(["-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
        .arg(files.path("ca.pem"));
    command.args(arguments);
    command
}

/// An echo server of lines.
async fn lines(files: &Files, of_clients: bool) -> Address {
    let mut tls = files.authority.server().alpn(["lines"]);
    if of_clients {
        tls = tls.client_ca(Pem::file(files.path("ca.pem")));
    }
    let tcp = Tcp::with_framing(net_tcp::TcpConfig::default(), Delimiter::lines());
    let tcp = tcp.with_server_tls(tls.build().expect("settings"));
    let listener = tcp.listen(&at("tcps://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);
    to
}

#[tokio::test]
async fn m12_openssl_is_served_in_both_versions() {
    let files = Files::new();
    let to = lines(&files, false).await;
    for (version, agreed) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let command = s_client(&files, &to, &[version, "-ign_eof", "-alpn", "lines"]);
        let mut command = command;
        // The server ends when openssl does: without -ign_eof it would not wait for the answer.
        command.arg("-nbio");
        let talk = Talk::start(command);
        let output = talk.echo("hello").await;
        assert!(output.contains(agreed), "{output}");
        assert!(output.contains("Verify return code: 0 (ok)"), "{output}");
        assert!(output.contains("ALPN protocol: lines"), "{output}");
    }
    for old in ["-tls1_1", "-tls1"] {
        let output = run(s_client(&files, &to, &[old, "-cipher", "ALL:@SECLEVEL=0"]), b"").await;
        assert!(!output.status.success(), "{old}: {}", text(&output));
    }
}

/// openssl in conversation: killed when dropped.
struct Talk(Child);

impl Talk {
    fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}; apt-get install openssl")))
    }

    /// Writes a line, and returns all that is printed until it comes back.
    async fn echo(mut self, line: &'static str) -> String {
        let talking = tokio::task::spawn_blocking(move || {
            let mut input = self.0.stdin.take().expect("piped");
            writeln!(input, "{line}").expect("written");
            let mut printed = String::new();
            for one in BufReader::new(self.0.stdout.take().expect("piped")).lines() {
                let one = one.expect("text");
                printed.push_str(&one);
                printed.push('\n');
                if one == line {
                    break;
                }
            }
            printed
        });
        soon("the echo", talking).await.expect("no panic")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn m12_openssl_shows_its_certificate() {
    let files = Files::new();
    let to = lines(&files, true).await;
    let (chain, key) = (files.path("client.pem"), files.path("client.key"));
    let show = ["-cert", chain.to_str().expect("text"), "-key", key.to_str().expect("text"), "-ign_eof"];
    let output = Talk::start(s_client(&files, &to, &show)).echo("hello").await;
    assert!(output.lines().any(|line| line == "hello"), "{output}");

    let output = run(s_client(&files, &to, &["-ign_eof"]), b"hello\n").await;
    assert!(text(&output).contains("certificate required"), "{}", text(&output));
}

#[tokio::test]
async fn a5_renegotiation_is_refused() {
    let files = Files::new();
    let to = lines(&files, false).await;
    // `R` alone on a line asks openssl to renegotiate.
    let output = run(s_client(&files, &to, &["-tls1_2"]), b"R\n").await;
    let output = text(&output);
    assert!(output.contains("RENEGOTIATING"), "{output}");
    assert!(output.contains("no renegotiation") || output.contains("unexpected"), "{output}");
}

#[tokio::test]
async fn m12_openssl_serves_us() {
    let files = Files::new();
    for (version, agreed) in [("-tls1_3", TlsVersion::V1_3), ("-tls1_2", TlsVersion::V1_2)] {
        // openssl tells the port that it got.
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            version,
            "-rev",
            "-Verify",
            "1",
            "-verify_return_error",
        ]);
        command.arg("-CAfile").arg(files.path("ca.pem"));
        command.arg("-cert").arg(files.path("server.pem")).arg("-key").arg(files.path("server.key"));
        let mut server = Talk::start(command);
        let mut printed = BufReader::new(server.0.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.starts_with("ACCEPT") {
            line.clear();
            assert!(printed.read_line(&mut line).expect("text") > 0, "openssl ended");
        }
        let to = at(&format!("tcps://{}", line.trim().trim_start_matches("ACCEPT ")));

        let client = files.authority.client();
        let client =
            client.certificate(Pem::file(files.path("client.pem")), Pem::file(files.path("client.key")));
        let tcp = Tcp::with_framing(net_tcp::TcpConfig::default(), Delimiter::lines());
        let tcp = tcp.with_client_tls(client.build().expect("settings"));
        let mut near = soon("a handshake", tcp.connect(&to)).await.expect("connected");
        assert_eq!(near.info.details::<TlsInfo>().expect("TLS").version, agreed);
        // It answers each line backwards.
        for (line, answer) in [("hello", "olleh"), ("again", "niaga")] {
            near.send(line).await.expect("sent");
            assert_eq!(
                soon("an answer", near.recv()).await.expect("served").as_deref(),
                Some(answer.as_bytes())
            );
        }
    }
}

#[tokio::test]
async fn m12_an_independent_client_is_served() {
    let files = Files::new();
    let tls = files.authority.server().client_ca(Pem::file(files.path("ca.pem"))).build().expect("settings");
    let listener =
        Tcp::default().with_server_tls(tls).listen(&at("tcps://127.0.0.1:0")).await.expect("listening");
    let to = rig::socket(listener.local()).to_string();
    rig::echo(listener);
    let client = |script: &str| {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
        command
    };
    for action in [&["send", "grüße"][..], &["dribble"], &["oversize"]] {
        let mut command = client("../net-cli/tests/clients/framed.py");
        command.arg(&to).args(action).arg("--ca").arg(files.path("ca.pem"));
        command.arg("--cert").arg(files.path("client.pem")).arg("--key").arg(files.path("client.key"));
        let output = run(command, b"").await;
        assert!(output.status.success(), "{action:?}: {}", text(&output));
    }
    let mut command = client("tests/clients/bulk.py");
    let (host, port) = to.rsplit_once(':').expect("an address");
    command.args([host, port]);
    command.args(["ca.pem", "client.pem", "client.key"].map(|name| files.path(name)));
    let output = run(command, b"").await;
    assert!(output.status.success() && text(&output).starts_with("ok 20066 frames"), "{}", text(&output));
}
