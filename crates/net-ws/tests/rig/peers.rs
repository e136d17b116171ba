//! Programs in Python and JavaScript that share no code with ours: on `websockets`, on `ws`, and in a browser.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{env, path::Path, process::Command};

use serde_json::Value;

#[path = "../../../net-quic/tests/rig/python.rs"]
mod programs;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use programs::{Files, Talk, run, text};

/// Who is spoken with: each has a client and a server that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `websockets`
    Python,
    /// `ws`
    Node,
}

impl Peer {
    /// Returns a command that runs its program of this name, which is given `argument`.
    pub(crate) fn program(self, name: &str, argument: &Value) -> Command {
        let mut command = match self {
            Self::Python => {
                let mut command = Command::new(variable("WEBSOCKETS_PYTHON"));
                // Nothing is to be left in the tree.
                command.arg("-B");
                command.arg(script(&format!("{name}.py")));
                command
            }
            Self::Node => node(&format!("{name}.mjs")),
        };
        command.arg(argument.to_string());
        command
    }
}

/// Returns a command that runs a program in JavaScript, which finds its packages by the variable.
pub(crate) fn node(name: &str) -> Command {
    variable("NODE_PEERS");
    let mut command = Command::new("node");
    command.arg(script(name));
    command
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} names nothing: run `cargo xtask test -- -p net-ws`, which installs the peers and names them")
    })
}
