//! `cargo xtask ci --only scan`: sslyze looks at our TLS server, and whatever it has to say against it is a failure.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    run,
    tools::{self, PYTHON, SSLYZE},
};

/// A scan takes two seconds; one that takes a minute hangs.
const BOUND: Duration = Duration::from_mins(1);

/// The checks of sslyze, but for that of HTTP headers.
const CHECKS: [&str; 17] = [
    "--certinfo",
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--compression",
    "--early_data",
    "--openssl_ccs",
    "--fallback",
    "--heartbleed",
    "--robot",
    "--reneg",
    "--resum",
    "--elliptic_curves",
    "--ems",
];

/// What must be found, by the place in the report. A check that sslyze has and this does not name is a finding, too.
const EXPECTED: [(&str, &[(&str, Expected)]); 17] = [
    ("ssl_2_0_cipher_suites", &[("/is_tls_version_supported", Expected::No)]),
    ("ssl_3_0_cipher_suites", &[("/is_tls_version_supported", Expected::No)]),
    ("tls_1_0_cipher_suites", &[("/is_tls_version_supported", Expected::No)]),
    ("tls_1_1_cipher_suites", &[("/is_tls_version_supported", Expected::No)]),
    (
        "tls_1_2_cipher_suites",
        &[
            ("/is_tls_version_supported", Expected::Yes),
            (
                "/accepted_cipher_suites",
                // Forward secrecy and authenticated encryption, and nothing else.
                Expected::Each("/cipher_suite/name", |name| name.starts_with("TLS_ECDHE_") && is_aead(name)),
            ),
        ],
    ),
    (
        "tls_1_3_cipher_suites",
        &[
            ("/is_tls_version_supported", Expected::Yes),
            ("/accepted_cipher_suites", Expected::Each("/cipher_suite/name", is_aead)),
        ],
    ),
    ("tls_compression", &[("/supports_compression", Expected::No)]),
    ("tls_1_3_early_data", &[("/supports_early_data", Expected::No)]),
    ("openssl_ccs_injection", &[("/is_vulnerable_to_ccs_injection", Expected::No)]),
    ("tls_fallback_scsv", &[("/supports_fallback_scsv", Expected::Yes)]),
    ("heartbleed", &[("/is_vulnerable_to_heartbleed", Expected::No)]),
    ("robot", &[("/robot_result", Expected::Text("NOT_VULNERABLE_RSA_NOT_SUPPORTED"))]),
    (
        "session_renegotiation",
        &[
            ("/supports_secure_renegotiation", Expected::Yes),
            ("/is_vulnerable_to_client_renegotiation_dos", Expected::No),
        ],
    ),
    ("session_resumption", &[("/session_id_resumption_result", Expected::Text("FULLY_SUPPORTED"))]),
    (
        "elliptic_curves",
        &[
            ("/supports_ecdh_key_exchange", Expected::Yes),
            (
                "/supported_curves",
                Expected::Each("/name", |name| ["X25519", "secp256r1", "secp384r1"].contains(&name)),
            ),
        ],
    ),
    ("tls_extended_master_secret", &[("/supports_ems_extension", Expected::Yes)]),
    (
        "certificate_info",
        &[
            ("/certificate_deployments/0/received_chain_has_valid_order", Expected::Yes),
            ("/certificate_deployments/0/verified_chain_has_sha1_signature", Expected::No),
            ("/certificate_deployments/0/leaf_certificate_has_must_staple_extension", Expected::No),
            // The authority that was made for this scan is trusted by who is told of it; that no other list of roots has
            // it is the one thing that is found, and meant.
            ("/certificate_deployments/0/path_validation_results", Expected::Trusted),
        ],
    ),
];

#[derive(Clone, Copy, Debug)]
enum Expected {
    Yes,
    No,
    Text(&'static str),
    /// At least one, and in each of them a text for which this holds.
    Each(&'static str, fn(&str) -> bool),
    /// By exactly one list of roots, the one that was supplied.
    Trusted,
}

fn is_aead(suite: &str) -> bool {
    suite.contains("_GCM_") || suite.contains("_CHACHA20_POLY1305_")
}

/// Makes certificates, starts `net echo server` with them, and has sslyze scan it.
///
/// # Errors
/// When something cannot be started, or there are findings: each of them.
pub(crate) fn scan() -> Result<()> {
    tools::ensure_programs(&[PYTHON])?;
    let python = SSLYZE.ensure()?;
    let net = run::release_binary("net")?;
    run::run(&mut run::cargo(["build", "--release", "-p", "net-cli"]))?;
    let directory = run::target_directory()?.join("scan");
    fs::create_dir_all(&directory)?;
    let file = |name: &str| directory.join(name);
    run::run(Command::new(&net).arg("certs").arg(&directory).arg("--force"))?;
    let (server, port) = serve(&net, &directory)?;
    let report = file("sslyze.json");
    let mut sslyze = Command::new(python);
    sslyze.args(["-W", "ignore", "-m", "sslyze", "--quiet"]).args(CHECKS);
    sslyze.arg(format!("--json_out={}", report.display()));
    sslyze.arg(format!("--certinfo_ca_file={}", file("ca.pem").display())).arg(format!("localhost:{port}"));
    run::run_for(&mut sslyze, BOUND)?;
    drop(server);
    let text = fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    let findings = findings(&serde_json::from_str(&text).context("sslyze wrote no JSON")?);
    ensure!(findings.is_empty(), "sslyze found, see {}:\n  {}", report.display(), findings.join("\n  "));
    println!(
        "sslyze: {} checks, nothing found but that the development authority is not public",
        EXPECTED.len()
    );
    Ok(())
}

/// A server that ends with this.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the echo server, and gives the port that it listens at. It speaks lines, so that the HTTP request by which sslyze
/// tries early data has an answer.
fn serve(net: &Path, directory: &Path) -> Result<(Served, u16)> {
    let mut command = Command::new(net);
    command.args(["echo", "server", "tcps://127.0.0.1:0", "--framing", "lines", "--quiet"]);
    command.arg("--cert").arg(directory.join("server.pem")).arg("--key").arg(directory.join("server.key"));
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the server")?;
    let mut server = Served(child);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().context("a server without output")?).read_line(&mut line)?;
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    Ok((server, port.with_context(|| format!("the server's first line is {line:?}"))?))
}

/// What speaks against the server, in words.
fn findings(report: &Value) -> Vec<String> {
    let Some(results) = report.pointer("/server_scan_results/0/scan_result").and_then(Value::as_object)
    else {
        return vec!["no server was scanned".to_owned()];
    };
    let known = |name: &str| EXPECTED.iter().any(|(check, _)| *check == name);
    let new = results.iter().filter(|(name, result)| {
        !known(name) && result.pointer("/status").and_then(Value::as_str) != Some("NOT_SCHEDULED")
    });
    let mut findings: Vec<_> =
        new.map(|(name, _)| format!("{name}: a check that is not judged yet")).collect();
    for (check, expectations) in EXPECTED {
        let Some(result) = results.get(check) else {
            findings.push(format!("{check}: not in the report"));
            continue;
        };
        if result.pointer("/status").and_then(Value::as_str) != Some("COMPLETED") {
            findings.push(format!(
                "{check}: not completed: {}",
                result.pointer("/error_reason").unwrap_or(&Value::Null)
            ));
            continue;
        }
        for (place, expected) in expectations {
            let found = result.pointer("/result").and_then(|result| result.pointer(place));
            if !found.is_some_and(|found| expected.holds(found)) {
                let found = found.unwrap_or(&Value::Null).to_string();
                findings.push(format!("{check}{place} is {found:.200}, expected {expected:?}"));
            }
        }
    }
    findings
}

impl Expected {
    fn holds(self, found: &Value) -> bool {
        match self {
            Self::Yes => found == &Value::Bool(true),
            Self::No => found == &Value::Bool(false),
            Self::Text(text) => found == text,
            Self::Each(place, is_good) => found.as_array().is_some_and(|all| {
                let text = |one: &Value| one.pointer(place).and_then(Value::as_str).is_some_and(is_good);
                !all.is_empty() && all.iter().all(text)
            }),
            Self::Trusted => found.as_array().is_some_and(|all| {
                let succeeded =
                    |one: &&Value| one.pointer("/was_validation_successful") == Some(&Value::Bool(true));
                let mut trusting = all.iter().filter(succeeded);
                let supplied = trusting.next().and_then(|one| one.pointer("/trust_store/path")?.as_str());
                supplied.is_some_and(|path| path.ends_with("ca.pem")) && trusting.next().is_none()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A report without findings, as sslyze 6.3 writes it, less what is not looked at.
    fn report() -> Value {
        let done = |result: Value| json!({"status": "COMPLETED", "error_reason": null, "result": result});
        let suites = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| json!({"cipher_suite": {"name": name}})).collect();
            done(json!({"is_tls_version_supported": !names.is_empty(), "accepted_cipher_suites": names}))
        };
        let roots = json!([
            {"trust_store": {"path": "/pem_files/mozilla_nss.pem"}, "was_validation_successful": false},
            {"trust_store": {"path": "target/scan/ca.pem"}, "was_validation_successful": true},
        ]);
        let results = json!({
            "certificate_info": done(json!({"certificate_deployments": [{
                "received_chain_has_valid_order": true,
                "verified_chain_has_sha1_signature": false,
                "leaf_certificate_has_must_staple_extension": false,
                "path_validation_results": roots,
            }]})),
            "ssl_2_0_cipher_suites": suites(&[]),
            "ssl_3_0_cipher_suites": suites(&[]),
            "tls_1_0_cipher_suites": suites(&[]),
            "tls_1_1_cipher_suites": suites(&[]),
            "tls_1_2_cipher_suites": suites(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
            "tls_1_3_cipher_suites": suites(&["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"]),
            "tls_compression": done(json!({"supports_compression": false})),
            "tls_1_3_early_data": done(json!({"supports_early_data": false})),
            "openssl_ccs_injection": done(json!({"is_vulnerable_to_ccs_injection": false})),
            "tls_fallback_scsv": done(json!({"supports_fallback_scsv": true})),
            "heartbleed": done(json!({"is_vulnerable_to_heartbleed": false})),
            "robot": done(json!({"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"})),
            "session_renegotiation": done(json!({
                "supports_secure_renegotiation": true,
                "is_vulnerable_to_client_renegotiation_dos": false,
            })),
            "session_resumption": done(json!({"session_id_resumption_result": "FULLY_SUPPORTED"})),
            "elliptic_curves": done(json!({
                "supports_ecdh_key_exchange": true,
                "supported_curves": [{"name": "X25519"}, {"name": "secp256r1"}],
            })),
            "tls_extended_master_secret": done(json!({"supports_ems_extension": true})),
            "http_headers": {"status": "NOT_SCHEDULED", "result": null},
        });
        json!({"server_scan_results": [{"scan_result": results}]})
    }

    /// The findings once what stands at `place` has been exchanged.
    fn changed(place: &str, value: Value) -> Vec<String> {
        let mut report = report();
        let results = report.pointer_mut("/server_scan_results/0/scan_result").expect("results");
        *results.pointer_mut(place).expect(place) = value;
        findings(&report)
    }

    #[test]
    fn a_server_as_ours_is_has_no_findings() {
        assert_eq!(findings(&report()), [""; 0]);
    }

    #[test]
    fn each_weakness_is_one_finding_with_the_name_of_its_check() {
        let suite = |name: &str| json!([{"cipher_suite": {"name": name}}]);
        let roots = "/certificate_info/result/certificate_deployments/0/path_validation_results/1/was_validation_successful";
        for (place, value) in [
            ("/tls_1_1_cipher_suites/result/is_tls_version_supported", json!(true)),
            ("/tls_1_3_cipher_suites/result/is_tls_version_supported", json!(false)),
            (
                "/tls_1_2_cipher_suites/result/accepted_cipher_suites",
                suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
            ),
            (
                "/tls_1_2_cipher_suites/result/accepted_cipher_suites",
                suite("TLS_RSA_WITH_AES_128_GCM_SHA256"),
            ),
            ("/tls_1_3_cipher_suites/result/accepted_cipher_suites", json!([])),
            ("/tls_compression/result/supports_compression", json!(true)),
            ("/tls_1_3_early_data/result/supports_early_data", json!(true)),
            ("/openssl_ccs_injection/result/is_vulnerable_to_ccs_injection", json!(true)),
            ("/tls_fallback_scsv/result/supports_fallback_scsv", json!(false)),
            ("/heartbleed/result/is_vulnerable_to_heartbleed", json!(true)),
            ("/robot/result/robot_result", json!("VULNERABLE_WEAK_ORACLE")),
            ("/session_renegotiation/result/is_vulnerable_to_client_renegotiation_dos", json!(true)),
            ("/session_resumption/result/session_id_resumption_result", json!("PARTIALLY_SUPPORTED")),
            ("/elliptic_curves/result/supported_curves", json!([{"name": "X25519"}, {"name": "secp192r1"}])),
            ("/tls_extended_master_secret/result/supports_ems_extension", json!(false)),
            (roots, json!(false)),
            ("/heartbleed/status", json!("ERROR")),
            ("/heartbleed", json!(null)),
            ("/http_headers/status", json!("COMPLETED")),
        ] {
            let check = place.split('/').nth(1).expect("a check");
            let findings = changed(place, value);
            assert!(matches!(&findings[..], [one] if one.starts_with(check)), "{place}: {findings:?}");
        }
        assert_eq!(findings(&json!({})), ["no server was scanned"]);
    }
}
