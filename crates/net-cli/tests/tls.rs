//! TLS of the command: certificates to try it with, foreign clients and servers, both verify modes, reload.

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use authority::{Authority, LOCAL};
use rig::{Process, Server, net, released};
use tempfile::TempDir;

/// Certificates as `net certs` makes them.
fn certs() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    net(["certs", path(directory.path())]).expect(0);
    directory
}

fn path(path: &Path) -> &str {
    path.to_str().expect("is text")
}

fn file(directory: &TempDir, name: &str) -> String {
    path(&directory.path().join(name)).to_owned()
}

/// Starts an echo server with the certificates in `directory`.
fn server(directory: &TempDir, flags: &str) -> Server {
    let (cert, key) = (file(directory, "server.pem"), file(directory, "server.key"));
    Server::start(released(), "tcps://127.0.0.1:0", &format!("--cert {cert} --key {key} {flags}"))
}

fn echo(server: &Server, flags: &[&str]) -> rig::Ended {
    net([&["echo", "client", &server.url, "hello"], flags].concat())
}

#[test]
fn m12_certificates_to_try_tls_with_take_one_command() {
    let directory = certs();
    for (name, begins) in [
        ("ca.pem", "-----BEGIN CERTIFICATE-----"),
        ("server.pem", "-----BEGIN CERTIFICATE-----"),
        ("server.key", "-----BEGIN PRIVATE KEY-----"),
        ("client.pem", "-----BEGIN CERTIFICATE-----"),
        ("client.key", "-----BEGIN PRIVATE KEY-----"),
    ] {
        let text = fs::read_to_string(file(&directory, name)).expect(name);
        assert!(text.starts_with(begins), "{name}: {text}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        let mode = fs::metadata(file(&directory, "server.key")).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    net(["certs", path(directory.path())]).expect(1).tells("overwrite with --force");
    net(["certs", path(directory.path()), "--force", "--name", "example.test"]).expect(0);
    net(["certs", path(directory.path()), "--force", "--name", "no name"]).expect(1);
}

#[test]
fn m12_a_name_that_is_there_anyhow_stands_once_in_the_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = path(directory.path());
    let ended = net(["certs", at, "--name", "localhost", "--name", "::1", "--name", "a.test"]).expect(0);
    let told = ended.stdout.last().expect("a line");
    assert!(told.contains("for localhost, 127.0.0.1, ::1, a.test,"), "{told}");
    let pem = file(&directory, "server.pem");
    let mut command = Command::new("openssl");
    command.args(["x509", "-in", &pem, "-noout", "-ext", "subjectAltName"]);
    let names = Process::start(&mut command).ended().expect(0).stdout.join("\n");
    for name in ["DNS:localhost", "IP Address:127.0.0.1", "DNS:a.test"] {
        assert_eq!(names.matches(name).count(), 1, "{names}");
    }
    assert_eq!(names.matches("IP Address").count(), 2, "{names}");
}

#[test]
fn m12_a_client_trusts_whom_it_is_told_to_trust() {
    let (ours, theirs) = (certs(), certs());
    let server = server(&ours, "");
    assert!(server.url.starts_with("tcps://127.0.0.1:"), "{}", server.url);
    let ended = echo(&server, &["--ca", &file(&ours, "ca.pem")]).expect(0);
    assert_eq!(ended.stdout, ["hello"]);
    for name in ["localhost", "::1"] {
        echo(&server, &["--ca", &file(&ours, "ca.pem"), "--server-name", name]).expect(0);
    }
    echo(&server, &["--ca", &file(&theirs, "ca.pem")]).expect(1).tells("certificate");
    echo(&server, &[]).expect(1).tells("certificate");
    echo(&server, &["--insecure"]).expect(0).tells("--insecure accepts any certificate");
    echo(&server, &["--ca", &file(&ours, "ca.pem"), "--server-name", "example.test"])
        .expect(1)
        .tells("certificate");
}

#[test]
fn a_handshake_that_never_begins_ends_when_the_flag_says() {
    let directory = certs();
    let mut server = server(&directory, "--handshake-timeout 100ms");
    let began = Instant::now();
    let _silent = TcpStream::connect(server.url.trim_start_matches("tcps://")).expect("connects");
    server.process.told("handshake of");
    assert!(began.elapsed() < Duration::from_secs(10), "which is the default");
}

#[test]
fn a36_a_signal_amid_handshakes_ends_the_server_and_them() {
    let directory = certs();
    let mut server = server(&directory, "--drain-min 0s --drain-max 20s");
    let address = server.url.trim_start_matches("tcps://").to_owned();
    // One says nothing, one is cut short after the head of its first record.
    let mut silent = TcpStream::connect(&*address).expect("connects");
    let mut begun = TcpStream::connect(&*address).expect("connects");
    begun.write_all(&[22, 3, 1, 2, 0, 1]).expect("takes it");
    for _ in 0..2 {
        server.process.told("accepted");
    }
    let signalled = Instant::now();
    server.terminate();
    for stream in [&mut silent, &mut begun] {
        // The end or a reset, and no byte of a handshake that will not be.
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
    }
    server.process.ended().expect(0).tells("drained 0 sessions, none cut; cut 2 handshakes");
    assert!(signalled.elapsed() < Duration::from_secs(10), "which is how long a handshake may take");
}

#[test]
fn m12_a_server_asks_for_a_certificate_where_it_is_told_to() {
    let (ours, theirs) = (certs(), certs());
    let ca = file(&ours, "ca.pem");
    let shows = |directory: &TempDir| [file(directory, "client.pem"), file(directory, "client.key")];
    let required = server(&ours, &format!("--client-ca {ca}"));
    let optional = server(&ours, &format!("--client-ca {ca} --client-cert optional"));
    let [cert, key] = &shows(&ours);
    for server in [&required, &optional] {
        echo(server, &["--ca", &ca, "--cert", cert, "--key", key]).expect(0);
    }
    echo(&optional, &["--ca", &ca]).expect(0);
    assert_ne!(echo(&required, &["--ca", &ca]).status, Some(0));
    let [cert, key] = &shows(&theirs);
    for server in [&required, &optional] {
        assert_ne!(echo(server, &["--ca", &ca, "--cert", cert, "--key", key]).status, Some(0));
    }
    // A server's certificate is none of a client.
    let [cert, key] = [file(&ours, "server.pem"), file(&ours, "server.key")];
    assert_ne!(echo(&required, &["--ca", &ca, "--cert", &cert, "--key", &key]).status, Some(0));
}

#[test]
fn a6_clients_on_a_revocation_list_are_refused_and_those_of_an_expired_one_where_it_is_told_to() {
    let authority = Authority::new("net");
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("written");
        file(&directory, name)
    };
    let pair = |name: &str, pair: authority::Pair| {
        [write(&format!("{name}.pem"), &pair.chain), write(&format!("{name}.key"), &pair.key)]
    };
    let ca = write("ca.pem", &authority.pem);
    pair("server", authority.leaf(&LOCAL));
    let (revoked, good) = (authority.numbered(&["client"], 7), authority.numbered(&["client"], 8));
    let (revoked, good) = (pair("revoked", revoked), pair("good", good));
    let current = write("current.crl", &authority.revoke(&[7]));
    let expired = write("expired.crl", &authority.revoke_until(2021, &[7]));
    for (list, refuse, serves) in [
        (&current, "", true),
        (&expired, "", true),
        (&current, "--refuse-expired-crl", true),
        (&expired, "--refuse-expired-crl", false),
    ] {
        let server = server(&directory, &format!("--client-ca {ca} --client-crl {list} {refuse}"));
        let is_served = |[cert, key]: &[String; 2]| {
            echo(&server, &["--ca", &ca, "--cert", cert, "--key", key]).status == Some(0)
        };
        assert_eq!(is_served(&good), serves, "{list} {refuse}");
        assert!(!is_served(&revoked), "{list} {refuse}");
    }
}

#[test]
fn flags_that_cannot_work_say_what_to_do() {
    net(["echo", "server", "tcps://127.0.0.1:0"]).expect(1).tells("net certs DIR");
    net(["echo", "client", "tcp://127.0.0.1:1", "x", "--ca", "ca.pem"]).expect(1).tells("tcps://");
    let directory = certs();
    let (cert, key) = (file(&directory, "server.pem"), file(&directory, "client.key"));
    net(["echo", "server", "tcps://127.0.0.1:0", "--cert", &cert, "--key", &key]).expect(1).tells("key");
    let groups = ["--ca", &file(&directory, "ca.pem"), "--tls-groups", "x25591"];
    net([&["echo", "client", "tcps://127.0.0.1:1", "x"], &groups[..]].concat())
        .expect(1)
        .tells("X25519MLKEM768");
}

#[test]
fn m12_changed_certificates_are_in_force_for_new_connections() {
    let directory = certs();
    let mut server = server(&directory, "");
    let old = fs::read(file(&directory, "ca.pem")).expect("is there");
    let trusted = file(&directory, "trusted.pem");
    fs::write(&trusted, old).expect("writes");
    echo(&server, &["--ca", &trusted]).expect(0);
    // A pair that does not go together is refused.
    fs::copy(file(&directory, "client.key"), file(&directory, "server.key")).expect("copies");
    server.process.told("new certificates refused");
    echo(&server, &["--ca", &trusted]).expect(0);
    net(["certs", path(directory.path()), "--force"]).expect(0);
    server.process.told("certificates changed");
    echo(&server, &["--ca", &file(&directory, "ca.pem")]).expect(0);
    echo(&server, &["--ca", &trusted]).expect(1);
}

/// Runs the independent client over TLS.
fn framed(server: &Server, directory: &TempDir, action: &str, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/framed.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(server.url.strip_prefix("tcps://").expect("is TLS")).arg(action).args(arguments);
    command.args(["--ca", &file(directory, "ca.pem")]);
    let ended = Process::start(&mut command).ended().expect(0);
    assert!(ended.stdout.last().is_some_and(|line| line.starts_with(&format!("ok {action}"))), "{ended:?}");
}

// Not `files` and `burst`: they use one `SSLSocket` in two threads, which Python's ssl does not allow.
#[test]
fn m12_an_independent_client_is_served_over_tls() {
    let directory = certs();
    for format in ["raw", "message"] {
        let server = server(&directory, &format!("--format {format}"));
        framed(&server, &directory, "send", &["grüße", "--format", format]);
        framed(&server, &directory, "dribble", &["--format", format]);
        framed(&server, &directory, "oversize", &["--format", format]);
    }
}

/// Has openssl say hello to a server that echoes lines.
fn openssl_client(server: &Server, ca: &str, flags: &[&str]) {
    let at = server.url.strip_prefix("tcps://").expect("is TLS");
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        at,
        "-CAfile",
        ca,
        "-verify_return_error",
        "-quiet",
        "-no_ign_eof",
    ]);
    let mut client = Process::start(command.args(flags));
    let mut stdin = client.stdin();
    std::io::Write::write_all(&mut stdin, b"hello\n").expect("reads");
    assert_eq!(client.line(), "hello", "{flags:?}");
    drop(stdin);
    client.ended().expect(0);
}

#[test]
fn m12_openssl_is_served_and_serves() {
    let directory = certs();
    let ca = file(&directory, "ca.pem");
    let server = server(&directory, "--framing lines");
    for version in ["-tls1_2", "-tls1_3"] {
        openssl_client(&server, &ca, &[version]);
    }
    // Its server sends back what it gets, line by line and in reverse.
    let (cert, key) = (file(&directory, "server.pem"), file(&directory, "server.key"));
    let mut command = Command::new("openssl");
    command.args([
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        &cert,
        "-key",
        &key,
        "-rev",
        "-naccept",
        "1",
    ]);
    let mut theirs = Process::start(command.stdin(Stdio::piped()));
    let at = loop {
        let line = theirs.line();
        if let Some(at) = line.strip_prefix("ACCEPT ") {
            break at.to_owned();
        }
    };
    let url = format!("tcps://{at}");
    let ended = net(["echo", "client", &url, "hello", "--framing", "lines", "--ca", &ca]);
    ended.expect(3).tells("olleh");
}

/// Starts an echo server for lines, with `SSLKEYLOGFILE` set.
fn logging_server(directory: &TempDir, log: &str, flags: &[&str]) -> Server {
    let (cert, key) = (file(directory, "server.pem"), file(directory, "server.key"));
    let mut command = Command::new(released());
    command.args([
        "echo",
        "server",
        "tcps://127.0.0.1:0",
        "--cert",
        &cert,
        "--key",
        &key,
        "--framing",
        "lines",
    ]);
    Server::of(command.args(flags).env("SSLKEYLOGFILE", log))
}

/// Returns the lines of a key log, which must be of the form that NSS gave it: a label, the client's random number of 32
/// bytes and a secret of 32 or 48 bytes, in hexadecimal.
fn secrets(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(path).expect(path);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let secrets: BTreeSet<_> = lines.map(str::to_owned).collect();
    for line in &secrets {
        let [_, random, secret] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let hex =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        assert!(
            random.len() == 64 && [64, 96].contains(&secret.len()) && hex(random) && hex(secret),
            "{line}"
        );
    }
    secrets
}

#[test]
fn m12_secrets_are_written_where_they_are_asked_for_and_openssl_has_the_same_ones() {
    let directory = certs();
    let ca = file(&directory, "ca.pem");
    for (version, labels) in [
        ("-tls1_2", &["CLIENT_RANDOM"][..]),
        (
            "-tls1_3",
            &[
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "EXPORTER_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_TRAFFIC_SECRET_0",
            ],
        ),
    ] {
        let [ours, theirs] = ["ours", "theirs"].map(|name| file(&directory, &format!("{name}{version}")));
        let server = logging_server(&directory, &ours, &["--key-log"]);
        openssl_client(&server, &ca, &[version, "-keylogfile", &theirs]);
        // What another implementation derived of the same connection is what decrypts it.
        let (ours, theirs) = (secrets(&ours), secrets(&theirs));
        assert_eq!(ours, theirs, "{version}");
        let found: Vec<_> = ours.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(found, labels, "{version}");
    }
    // Our client writes the same, where it is asked to.
    let [near, far] = ["near", "far"].map(|name| file(&directory, name));
    let server = logging_server(&directory, &far, &["--key-log"]);
    let mut command = Command::new(released());
    command.args(["echo", "client", &server.url, "hello", "--framing", "lines", "--ca", &ca, "--key-log"]);
    Process::start(command.env("SSLKEYLOGFILE", &near)).ended().expect(0);
    assert_eq!(secrets(&near), secrets(&far));
    assert_eq!(secrets(&near).len(), 5);
}

#[test]
fn m12_no_secret_is_written_unless_it_is_asked_for() {
    let directory = certs();
    let [near, far] = ["near", "far"].map(|name| file(&directory, name));
    let server = logging_server(&directory, &far, &[]);
    let mut command = Command::new(released());
    let ca = file(&directory, "ca.pem");
    command.args(["echo", "client", &server.url, "hello", "--framing", "lines", "--ca", &ca]);
    Process::start(command.env("SSLKEYLOGFILE", &near)).ended().expect(0);
    for log in [near, far] {
        assert!(!Path::new(&log).exists(), "{log} was written");
    }
}
