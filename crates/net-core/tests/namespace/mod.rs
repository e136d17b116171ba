//! Tests that run in a network namespace of their own, where loopback is not enough.

use std::process::Command;

/// Set where a test runs in its namespace.
const INSIDE: &str = "NET_IN_NAMESPACE";

/// Tells whether this is the namespace in which `test` is to run; else runs it there, after the shell commands of `setup`.
#[allow(clippy::print_stderr, reason = "a test that is not run says so")]
pub(crate) fn is_inside(test: &str, setup: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare =
        |args: &[&str]| Command::new("unshare").args(["--net", "--map-root-user"]).args(args).output();
    if !unshare(&["true"]).is_ok_and(|probe| probe.status.success()) {
        eprintln!("{test}: this system gives no network namespace, so it is not run");
        return false;
    }
    let script = format!("set -e\n{setup}\nexec \"$0\" --exact \"$1\" --nocapture");
    let binary = std::env::current_exe().expect("this program");
    let inside = Command::new("unshare")
        .args(["--net", "--map-root-user", "sh", "-c", &script])
        .arg(binary)
        .arg(test)
        .env(INSIDE, "yes")
        .output()
        .expect("unshare is there");
    let told = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success() && told.contains("1 passed"), "{inside:?}");
    false
}
