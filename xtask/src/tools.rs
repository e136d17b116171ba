//! The programs that the tasks need, and how each is installed where it is missing.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// A cargo subcommand, built from crates.io at the version pinned here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    package: &'static str,
    version: &'static str,
}

/// Runs the tests, each in a process of its own, and ends those that hang.
pub(crate) const NEXTEST: Tool = Tool { package: "cargo-nextest", version: "0.9.143" };
/// Checks each feature alone.
pub(crate) const HACK: Tool = Tool { package: "cargo-hack", version: "0.6.46" };
/// Checks version floors, licences and sources of the dependencies.
pub(crate) const DENY: Tool = Tool { package: "cargo-deny", version: "0.20.2" };

impl Tool {
    /// Installs the pinned version unless some version is there already; says so when it differs from the pin.
    ///
    /// # Errors
    /// When the installation fails.
    pub(crate) fn ensure(self) -> Result<()> {
        let subcommand = self.package.trim_start_matches("cargo-");
        if let Ok(found) = run::output(&mut run::cargo([subcommand, "--version"])) {
            let found = found.lines().next().unwrap_or_default();
            if !found.split(' ').any(|word| word == self.version) {
                eprintln!("note: found {found}; the pinned version is {}", self.version);
            }
            return Ok(());
        }
        eprintln!("{} is missing; it is built from crates.io once, which takes minutes", self.package);
        let install = ["install", "--locked", self.package, "--version", self.version];
        // A build flag meant for the workspace would make cargo build this somewhere else or differently.
        run::run(run::cargo(install).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS"))
            .with_context(|| format!("{} could not be installed", self.package))
    }
}

/// A program of Python in an environment of its own, at the versions pinned here, all that it needs included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    name: &'static str,
    pins: &'static [&'static str],
}

/// Scans TLS servers for weaknesses.
pub(crate) const SSLYZE: Environment = Environment {
    name: "sslyze",
    pins: &[
        "sslyze==6.3.1",
        "annotated-types==0.8.0",
        "cffi==2.1.1",
        "cryptography==46.0.7",
        "nassl==5.4.0",
        "pycparser==3.12",
        "pydantic==2.14.3",
        "pydantic-core==2.50.4",
        "tls-parser==2.0.2",
        "typing-extensions==4.16.0",
        "typing-inspection==0.4.5",
    ],
};

/// A foreign implementation of QUIC, as client, as server and as attacker.
pub(crate) const AIOQUIC: Environment = Environment {
    name: "aioquic",
    pins: &[
        "aioquic==1.7.2",
        "attrs==26.1.0",
        "certifi==2026.10.18",
        "cffi==2.1.1",
        "cryptography==50.0.2",
        "pycparser==3.12",
        "pylsqpack==1.0.0",
        "pyopenssl==26.4.0",
        "service-identity==26.1.0",
        "typing-extensions==4.16.0",
    ],
};

/// Makes environments for Python 2, as the last version that does.
pub(crate) const VIRTUALENV: Environment = Environment {
    name: "virtualenv",
    pins: &[
        "virtualenv==20.15.1",
        "distlib==0.4.4",
        "filelock==3.32.7",
        "platformdirs==2.6.2",
        "six==1.17.0",
    ],
};

/// The cases of Autobahn|Testsuite on a quick runner.
pub(crate) const KOSOKU: Environment = Environment { name: "kosoku", pins: &["kosoku==0.1.0"] };

/// A foreign implementation of WebSocket, as client and as server.
pub(crate) const WEBSOCKETS: Environment = Environment { name: "websockets", pins: &["websockets==17.4"] };

impl Environment {
    /// Makes the environment below cargo's target directory unless it is there with the same pins; gives its Python.
    ///
    /// # Errors
    /// When there is no Python, or the packages cannot be installed.
    pub(crate) fn ensure(self) -> Result<PathBuf> {
        let directory = run::target_directory()?.join("tools").join(self.name);
        let python = directory.join("bin").join("python");
        let (installed, pins) = (directory.join("pins"), self.pins.join("\n"));
        if std::fs::read_to_string(&installed).is_ok_and(|found| found == pins) {
            return Ok(python);
        }
        eprintln!("{} is missing; it is installed from PyPI once", self.name);
        let venv = || run::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory));
        if venv().is_err() {
            // On Debian the module is there without what it needs.
            install(&["python3-venv"])?;
            venv()?;
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
        run::run(Command::new(&python).args(pip).args(self.pins))
            .with_context(|| format!("{} could not be installed", self.name))?;
        // Last, so that an installation that was cut short is made again.
        std::fs::write(&installed, pins)?;
        Ok(python)
    }
}

/// Packages of npm in a folder of their own, at the versions pinned here, all that they need included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modules {
    name: &'static str,
    pins: &'static [&'static str],
}

/// A foreign implementation of WebSocket, and what drives a browser.
pub(crate) const NODE_PEERS: Modules =
    Modules { name: "node", pins: &["ws@8.23.0", "playwright-core@1.65.1"] };

impl Modules {
    /// Installs the packages below cargo's target directory unless they are there with the same pins; gives the folder
    /// above `node_modules`.
    ///
    /// # Errors
    /// When there is no npm, or the packages cannot be installed.
    pub(crate) fn ensure(self) -> Result<PathBuf> {
        let directory = run::target_directory()?.join("tools").join(self.name);
        let (installed, pins) = (directory.join("pins"), self.pins.join("\n"));
        if std::fs::read_to_string(&installed).is_ok_and(|found| found == pins) {
            return Ok(directory);
        }
        eprintln!("the modules of {} are missing; they are installed from npm once", self.name);
        // What an installation that was cut short has left.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory)?;
        let npm =
            ["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"];
        run::run(Command::new("npm").args(npm).arg("--prefix").arg(&directory).args(self.pins))
            .with_context(|| format!("{} could not be installed", self.pins.join(", ")))?;
        // Last, so that an installation that was cut short is made again.
        std::fs::write(&installed, pins)?;
        Ok(directory)
    }
}

/// A program of the system, and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// The foreign client that the tests drive over real input.
pub(crate) const PYTHON: Program =
    Program { name: "python3", package: "python3", purpose: "the foreign client runs on it" };
/// Counts system calls in the tests that bound them.
pub(crate) const OPENSSL: Program = Program {
    name: "openssl",
    package: "openssl",
    purpose: "tests of TLS have it as a foreign client and server",
};
/// Another foreign client of QUIC, ngtcp2's.
pub(crate) const GTLSCLIENT: Program = Program {
    name: "gtlsclient",
    package: "ngtcp2-client",
    purpose: "tests of QUIC have it as a foreign client",
};
/// Makes network namespaces, between which a client's address changes.
pub(crate) const IP: Program = Program {
    name: "ip",
    package: "iproute2",
    purpose: "tests of QUIC move a client between addresses with it",
};
/// Has the kernel lose what arrives in a network namespace.
pub(crate) const IPTABLES: Program =
    Program { name: "iptables", package: "iptables", purpose: "a test of QUIC has datagrams lost by it" };
pub(crate) const STRACE: Program =
    Program { name: "strace", package: "strace", purpose: "tests count system calls with it" };

/// The browser that WebSocket is tested in.
pub(crate) const CHROMIUM: Program =
    Program { name: "chromium", package: "chromium", purpose: "tests of WebSocket open pages in it" };
/// Runs the foreign clients and servers that are written in JavaScript, from version 20 on.
pub(crate) const NODE: Program =
    Program { name: "node", package: "nodejs", purpose: "foreign peers of WebSocket run on it" };
pub(crate) const NPM: Program =
    Program { name: "npm", package: "npm", purpose: "foreign peers of WebSocket are installed by it" };

/// Installs the packages of those `programs` that are missing, by name, through `apt-get`.
///
/// # Errors
/// Where there is no `apt-get` or no right to use it: what is missing, and the command that gets it.
pub(crate) fn ensure_programs(programs: &[Program]) -> Result<()> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    let purposes: Vec<_> =
        missing.iter().map(|program| format!("{} ({})", program.name, program.purpose)).collect();
    let advice = format!(
        "missing on this machine: {}. Get it with the system's package manager, on Debian and Ubuntu:\n    \
         sudo apt-get update && sudo apt-get install -y {}",
        purposes.join(", "),
        packages.join(" ")
    );
    eprintln!("missing: {}; installing {}", purposes.join(", "), packages.join(" "));
    install(&packages).context(advice.clone())?;
    if self::missing(programs).is_empty() { Ok(()) } else { bail!(advice) }
}

/// Installs packages of Debian.
fn install(packages: &[&str]) -> Result<()> {
    let Some(prefix) = privileged() else { bail!("no right to install {}", packages.join(" ")) };
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> =
            prefix.iter().copied().chain(["apt-get"]).chain(arguments.iter().copied()).collect();
        let (program, rest) = words.split_first().context("an empty command")?;
        run::run(Command::new(program).args(rest).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    // Where the package lists are there, no update is needed; a fresh image has none.
    apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))
}

/// Whether the process runs in continuous integration.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

fn missing(programs: &[Program]) -> Vec<Program> {
    // What starts is there: some have another word for their version, and fail.
    let starts = |program: &Program| Command::new(program.name).arg("--version").output().is_ok();
    programs.iter().copied().filter(|program| !starts(program)).collect()
}

/// What stands before `apt-get` so that it may install; `None` where it may not, or is not there.
fn privileged() -> Option<&'static [&'static str]> {
    if !run::succeeds("apt-get", &["--version"]) {
        return None;
    }
    if run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        return Some(&[]);
    }
    run::succeeds("sudo", &["-n", "true"]).then_some(&["sudo", "-n"])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Program =
        Program { name: "no-such-program-here", package: "no-such-package", purpose: "this test" };
    const SHELL: Program = Program { name: "bash", package: "bash", purpose: "this test" };

    #[test]
    fn only_what_does_not_start_is_missing() {
        let names: Vec<_> = missing(&[SHELL, NOWHERE]).iter().map(|program| program.name).collect();
        assert_eq!(names, ["no-such-program-here"]);
    }

    #[test]
    fn what_is_there_is_not_installed() {
        ensure_programs(&[SHELL]).unwrap();
    }
}
