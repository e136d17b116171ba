//! Tests that run in a network namespace of their own, where loopback is not enough.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{env, process::Command};

/// Set where a test runs in its namespace.
const INSIDE: &str = "NET_IN_NAMESPACE";
/// Set by who does without these tests, on a system that makes no namespaces.
const WITHOUT: &str = "NET_WITHOUT_NAMESPACES";

/// Tells whether this is the namespace in which `test` is to run; else runs it there, after the shell commands of `setup`.
pub(crate) fn is_inside(test: &str, setup: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare =
        |args: &[&str]| Command::new("unshare").args(["--net", "--map-root-user"]).args(args).output();
    let why = match unshare(&["true"]) {
        Ok(probe) if probe.status.success() => None,
        Ok(probe) => Some(String::from_utf8_lossy(&probe.stderr).into_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    if let Some(why) = why {
        do_without(test, &why);
        return false;
    }
    let script = format!("set -e\n{setup}\nexec \"$0\" --exact \"$1\" --nocapture");
    let binary = env::current_exe().expect("this program");
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

/// Does without `test`, where that was asked for; else fails, since no test passes that was not run.
#[allow(clippy::print_stderr, reason = "a test that is not run says so")]
pub(crate) fn do_without(test: &str, why: &str) {
    let why = why.trim();
    assert!(
        env::var_os(WITHOUT).is_some() || !cfg!(target_os = "linux"),
        "{test} is to run in a network namespace, and this system makes none ({why}). With {WITHOUT}=1 in the environment such \
         tests are left out"
    );
    eprintln!("{test}: left out, by {WITHOUT} or because the system has no namespaces ({why})");
}
