//! TLS settings: what is a mistake, what a reload does, and that no secret is shown.
#![cfg(feature = "tls")]

#[path = "tls/authority.rs"]
mod authority;

use std::{
    fs,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use authority::{Authority, LOCAL, Pair, WithPair};
use net_core::{
    Error, ErrorKind,
    tls::{
        ClientCertificates, ClientTls, Pem, ServerSide, ServerTls, TlsBuilder, TlsVersion, WatchConfig,
        rustls,
    },
};
use time::OffsetDateTime;

/// Fails the test unless these settings are refused, with all of `says` in the report.
#[track_caller]
fn is_mistaken(outcome: Result<impl std::fmt::Debug, Error>, says: &[&str]) {
    let error = outcome.expect_err("a mistake");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", error.report());
    for part in says {
        assert!(error.report().contains(part), "{part:?} is missing: {}", error.report());
    }
}

fn write(directory: &Path, pair: &Pair) {
    // As a careful program does: no reader sees half a file.
    for (name, text) in [("server.pem", &pair.chain), ("server.key", &pair.key)] {
        let fresh = directory.join(format!("{name}.new"));
        fs::write(&fresh, text).expect("written");
        fs::rename(&fresh, directory.join(name)).expect("renamed");
    }
}

fn server(directory: &Path) -> Result<ServerTls, Error> {
    let file = |name: &str| Pem::file(directory.join(name));
    ServerTls::builder().certificate(file("server.pem"), file("server.key")).build()
}

/// Returns both sides of a connection after their handshake.
fn shaken(client: &ClientTls, server: &ServerTls) -> (rustls::ClientConnection, rustls::ServerConnection) {
    let mut client = client.connection(&"tcps://localhost:1".parse().expect("an address")).expect("a client");
    let mut server = server.connection().expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("written");
        }
        let mut flight = &flight[..];
        while !flight.is_empty() {
            server.read_tls(&mut flight).expect("read");
            server.process_new_packets().expect("understood");
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).expect("written");
        }
        let mut answer = &answer[..];
        while !answer.is_empty() {
            client.read_tls(&mut answer).expect("read");
            client.process_new_packets().expect("trusted");
        }
    }
    (client, server)
}

/// Returns the certificate that a client of `tls` is shown.
fn shown(tls: &ServerTls, authority: &Authority) -> Vec<u8> {
    let (client, _) = shaken(&authority.client().build().expect("settings"), tls);
    client.peer_certificates().and_then(<[_]>::first).expect("a certificate").to_vec()
}

#[test]
fn m12_the_servers_first_suite_is_agreed_on() {
    let authority = Authority::new("suites");
    // As other programs' clients do, it would have AES-256.
    let strong = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];
    let client = authority.client().cipher_suites(strong).build().expect("settings");
    let agreed = |server: ServerTls| {
        let (_, server) = shaken(&client, &server);
        let suite = server.negotiated_cipher_suite().expect("agreed").suite();
        net_core::tls::AlgorithmName::from(suite).to_string()
    };
    let server = || authority.server();
    assert_eq!(agreed(server().build().expect("settings")), "TLS_AES_128_GCM_SHA256");
    for first in strong {
        let listed = strong.into_iter().filter(|suite| *suite != first);
        let suites = [first].into_iter().chain(listed);
        assert_eq!(agreed(server().cipher_suites(suites).build().expect("settings")), first);
    }
}

#[test]
fn m12_a_client_is_given_as_many_tickets_as_the_server_was_told() {
    let authority = Authority::new("tickets");
    let client = authority.client().build().expect("settings");
    let given = |server: TlsBuilder<ServerSide>| {
        shaken(&client, &server.build().expect("settings")).0.tls13_tickets_received()
    };
    let server = || authority.server();
    assert_eq!(given(server()), 1);
    assert_eq!(given(server().tickets(4)), 4);
    assert_eq!(given(server().tickets(0)), 0);
    assert_eq!(given(server().max_sessions(0).tickets(2)), 0, "nothing is kept that one could resume");
}

#[test]
fn m12_a_mistake_in_a_file_is_told_with_its_name() {
    let authority = Authority::new("mistakes");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    is_mistaken(server(directory), &["server.pem", "No such file"]);

    write(directory, &authority.leaf(&LOCAL));
    server(directory).expect("all is right");

    let other = authority.leaf(&LOCAL);
    fs::write(directory.join("server.key"), &other.key).expect("written");
    is_mistaken(server(directory), &["server.key", "not the key of the certificate", "server.pem"]);

    fs::write(directory.join("server.key"), &other.chain).expect("written");
    is_mistaken(server(directory), &["server.key", "no private key"]);

    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(directory.join("server.key"), encrypted).expect("written");
    is_mistaken(server(directory), &["server.key", "encrypted"]);

    fs::write(directory.join("server.pem"), "").expect("written");
    is_mistaken(server(directory), &["server.pem", "no certificate"]);

    fs::write(directory.join("server.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n").expect("written");
    is_mistaken(server(directory), &["server.pem"]);

    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(directory.join("server.pem"), nonsense).expect("written");
    is_mistaken(server(directory), &["server.pem", "cannot be read"]);

    write(directory, &authority.expired(&LOCAL));
    is_mistaken(server(directory), &["server.pem", "expired"]);

    let early = authority.issue(&LOCAL, |params| {
        params.not_before = rcgen::date_time_ymd(2099, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    });
    write(directory, &early);
    is_mistaken(server(directory), &["server.pem", "valid only in"]);

    let bundle = directory.join("ca.pem");
    fs::write(&bundle, nonsense).expect("written");
    is_mistaken(ClientTls::builder().ca(Pem::file(&bundle)).build(), &["ca.pem"]);
}

#[test]
fn m12_settings_that_contradict_each_other_are_refused() {
    let authority = Authority::new("mistakes");
    let ca = || Pem::bytes(authority.pem.clone());
    let list = || Pem::bytes(authority.revoke(&[1]));
    is_mistaken(ServerTls::builder().build(), &["needs a certificate"]);
    is_mistaken(authority.server().client_certificates(ClientCertificates::Required).build(), &["client_ca"]);
    is_mistaken(authority.server().revocation_lists(list()).build(), &["revocation"]);
    is_mistaken(ClientTls::builder().revocation_lists(list()).build(), &["need a ca"]);
    is_mistaken(ClientTls::builder().ca(ca()).danger_accept_any_certificate().build(), &["contradict"]);
    is_mistaken(ClientTls::builder().ca(ca()).server_name("not a name").build(), &["not a name"]);
    is_mistaken(
        authority.server().cipher_suites(["TLS_NULL"]).build(),
        &["TLS_NULL", "TLS_AES_128_GCM_SHA256"],
    );
    is_mistaken(authority.server().groups(["p256"]).build(), &["p256", "secp256r1"]);
    is_mistaken(authority.server().cipher_suites([""; 0]).build(), &["empty"]);
    let only_12 = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
    is_mistaken(authority.server().min_version(TlsVersion::V1_3).cipher_suites(only_12).build(), &["suite"]);
}

#[test]
fn m12_another_provider_is_a_value() {
    let authority = Authority::new("ring");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = authority.server().provider(provider).build().expect("settings");
    let config = tls.config();
    let groups = &config.crypto_provider().kx_groups;
    assert!(groups.iter().all(|group| group.name() != rustls::NamedGroup::X25519MLKEM768));
    shown(&tls, &authority);
    let hybrid = authority.server().build().expect("settings").config().crypto_provider().kx_groups[0].name();
    assert_eq!(hybrid, rustls::NamedGroup::X25519MLKEM768, "the default is post-quantum first");
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "the process has no default of ours");
}

#[test]
fn m12_no_secret_is_shown() {
    let authority = Authority::new("secrets");
    let pair = authority.leaf(&LOCAL);
    let builder = ServerTls::builder().pair(&pair);
    let client = authority.client().pair(&pair);
    let shown = format!("{builder:?} {:?} {client:?}", builder.clone().build().expect("settings"));
    let secret = pair.key.lines().nth(1).expect("a line of the key");
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn m12_keys_are_logged_only_when_asked() {
    let authority = Authority::new("log");
    let silent = authority.server().build().expect("settings").config();
    assert!(!silent.key_log.will_log("x"));
    let client = authority.client().build().expect("settings").config();
    assert!(!client.key_log.will_log("x"));
}

#[test]
fn m12_a_reload_checks_before_it_swaps() {
    let authority = Authority::new("reload");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, &authority.leaf(&LOCAL));
    let tls = server(directory).expect("settings");
    let first = shown(&tls, &authority);

    fs::write(directory.join("server.pem"), authority.leaf(&LOCAL).chain).expect("written");
    is_mistaken(tls.reload(), &["server.key"]);
    write(directory, &authority.expired(&LOCAL));
    is_mistaken(tls.reload(), &["expired"]);
    assert_eq!(shown(&tls, &authority), first, "the old pair stays");

    write(directory, &authority.leaf(&LOCAL));
    tls.reload().expect("a good pair");
    assert_ne!(shown(&tls, &authority), first);
}

#[test]
fn m12_changed_files_are_loaded_and_bad_ones_told() {
    let authority = Authority::new("watch");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, &authority.leaf(&LOCAL));
    let tls = server(directory).expect("settings");
    let first = shown(&tls, &authority);
    let (tell, told) = mpsc::channel();
    let config = WatchConfig { settle: Duration::from_millis(20), ..WatchConfig::default() };
    let watch = tls.watch(config, move |outcome| {
        let _ = tell.send(outcome.map_err(|error| error.kind()));
    });
    let watch = watch.expect("a watch");
    let next = || told.recv_timeout(Duration::from_secs(20)).expect("a reload");

    write(directory, &authority.leaf(&LOCAL));
    // The pair may be seen half, which is a mistake, before it is seen whole.
    while next().is_err() {}
    let second = shown(&tls, &authority);
    assert_ne!(second, first);

    fs::write(directory.join("server.key"), "nothing").expect("written");
    assert_eq!(next(), Err(ErrorKind::InvalidConfig));
    assert_eq!(shown(&tls, &authority), second, "the old pair stays");

    drop(watch);
    assert!(told.recv().is_err(), "the thread has ended, and with it the callback");
}

#[test]
fn m12_a_certificate_that_is_not_valid_yet_is_told_once_and_loaded_when_it_is() {
    let authority = Authority::new("early");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, &authority.leaf(&LOCAL));
    let tls = server(directory).expect("settings");
    let first = shown(&tls, &authority);
    let (tell, told) = mpsc::channel();
    let config = WatchConfig { poll_interval: Duration::from_millis(10), settle: Duration::from_millis(10) };
    let watch = tls.watch(config, move |outcome| {
        let _ = tell.send(outcome.map_err(|error| error.report()));
    });
    let _watch = watch.expect("a watch");
    let later = OffsetDateTime::now_utc() + Duration::from_secs(3);
    write(directory, &authority.issue(&LOCAL, |params| params.not_before = later));
    // The pair may be seen half before it is seen whole; nobody touches it after that.
    let mut failures = Vec::new();
    while let Err(why) = told.recv_timeout(Duration::from_secs(20)).expect("a reload") {
        failures.push(why);
    }
    assert_ne!(shown(&tls, &authority), first);
    let early = failures.iter().filter(|why| why.contains("valid only in")).count();
    // It was looked at some hundred times; on a machine that stalls for seconds, perhaps never too early. Each change of a file
    // is told: the certificate, then its key, which is empty before it is written.
    assert!(early <= 3, "{failures:?}");
}

#[cfg(unix)]
#[test]
fn m12_a_link_that_leads_elsewhere_is_a_change() {
    // As Kubernetes exchanges secrets: files are links through a directory that is itself a link.
    let authority = Authority::new("links");
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    let fresh = |name: &str| {
        let directory = root.join(name);
        fs::create_dir(&directory).expect("made");
        write(&directory, &authority.leaf(&LOCAL));
        std::os::unix::fs::symlink(name, root.join("..fresh")).expect("linked");
        fs::rename(root.join("..fresh"), root.join("..data")).expect("renamed");
    };
    fresh("one");
    fs::create_dir(root.join("certs")).expect("made");
    for name in ["server.pem", "server.key"] {
        std::os::unix::fs::symlink(format!("../..data/{name}"), root.join("certs").join(name))
            .expect("linked");
    }
    let tls = server(&root.join("certs")).expect("settings");
    let first = shown(&tls, &authority);
    let (tell, told) = mpsc::channel();
    let config = WatchConfig { poll_interval: Duration::from_millis(50), settle: Duration::from_millis(10) };
    let watch = tls.watch(config, move |outcome| {
        let _ = tell.send(outcome.is_ok());
    });
    let _watch = watch.expect("a watch");
    fresh("two");
    while !told.recv_timeout(Duration::from_secs(20)).expect("a reload") {}
    assert_ne!(shown(&tls, &authority), first);
}

#[test]
fn m12_the_same_settings_speak_several_protocols() {
    let authority = Authority::new("alpn");
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), &authority.leaf(&LOCAL));
    let server = server(directory.path()).expect("settings");
    let client = authority.client().alpn(["x"]).build().expect("settings");
    let agreed =
        |client: &ClientTls, server: &ServerTls| shaken(client, server).1.alpn_protocol().map(<[u8]>::to_vec);

    let (h2, ws) = (server.with_alpn(["h2", "http/1.1"]), server.with_alpn(["ws"]));
    assert_eq!(agreed(&client.with_alpn(["http/1.1", "h2"]), &h2).as_deref(), Some(&b"h2"[..]));
    assert_eq!(agreed(&client.with_alpn(["ws"]), &ws).as_deref(), Some(&b"ws"[..]));
    // What they were derived from is as it was, and a list in place of another one is that list alone.
    assert_eq!((agreed(&client, &server), client.config().alpn_protocols.len()), (None, 1));
    assert_eq!(h2.with_alpn(["ws"]).config().alpn_protocols, [b"ws"]);
    assert!(client.with_alpn([""; 0]).config().alpn_protocols.is_empty());

    // One set of files, one reload, one count; what is derived is made once.
    let (before, shown_before) = (h2.config(), shown(&h2, &authority));
    assert!(Arc::ptr_eq(&before, &h2.config()));
    write(directory.path(), &authority.leaf(&LOCAL));
    server.reload().expect("all is right");
    assert!(!Arc::ptr_eq(&before, &h2.config()));
    assert_ne!(shown(&h2, &authority), shown_before);
    assert_eq!(shown(&h2, &authority), shown(&server, &authority));
    assert_eq!(h2.config().alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    let (_, connection) = shaken(&client.with_alpn(["ws"]), &ws);
    ws.established(&connection);
    assert_eq!(server.stats().handshakes, 1);
}

#[test]
fn d8_the_name_of_a_server_is_its_host_unless_the_settings_say_otherwise() {
    let authority = Authority::new("names");
    let name = |client: &ClientTls, to: &str| {
        client.server_name(&to.parse().expect("an address")).map(|name| name.to_str().into_owned())
    };
    let client = authority.client().build().expect("settings");
    for (to, expected) in [
        ("tcps://example.test:1", "example.test"),
        ("tcps://127.0.0.1:1", "127.0.0.1"),
        ("tcps://[::1]:1", "::1"),
    ] {
        assert_eq!(name(&client, to).expect(to), expected);
    }
    let named = authority.client().server_name("other.test").build().expect("settings");
    assert_eq!(name(&named, "tcps://127.0.0.1:1").expect("a name"), "other.test");
}
