//! Why the command failed, what to do about it, and the exit status that says so.

use std::{fmt, io, process::ExitCode};

use net_core::{Error, ErrorKind};

/// What the command was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reading the command line, listening or connecting: exit status 1.
    Start = 1,
    /// Sending: exit status 2.
    Send = 2,
    /// Receiving: exit status 3.
    Receive = 3,
}

/// Why the command failed, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

#[allow(clippy::needless_pass_by_value, reason = "`map_err` hands errors over by value")]
impl Failure {
    pub(crate) fn new(step: Step, what: impl fmt::Display) -> Self {
        Self { step, what: what.to_string(), hint: None }
    }

    /// What was asked for makes no sense.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self::new(Step::Start, what)
    }

    /// The operating system gave no runtime.
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self::new(Step::Start, format_args!("start runtime: {error}"))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the network, met during `step`.
    pub(crate) fn net(step: Step, error: &Error) -> Self {
        Self { step, what: error.report(), hint: hint(error).map(Into::into) }
    }

    pub(crate) fn start(error: Error) -> Self {
        Self::net(Step::Start, &error)
    }

    pub(crate) fn sending(error: Error) -> Self {
        Self::net(Step::Send, &error)
    }

    pub(crate) fn receiving(error: Error) -> Self {
        Self::net(Step::Receive, &error)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.step as u8)
    }
}

/// Says what to do about an error.
fn hint(error: &Error) -> Option<&'static str> {
    let listening = error.operation() == "listen";
    Some(match error.kind() {
        ErrorKind::AddressInUse => {
            "another program listens there (`ss -ltnp` names it); stop it, or use port 0 for a free port"
        }
        ErrorKind::Refused if listening => "the directory of the socket does not exist; create it first",
        ErrorKind::Refused => "nothing listens there; start a server, such as `net echo server ADDR`",
        ErrorKind::Unresolved => "check the spelling of the host, or write its IP address",
        ErrorKind::PermissionDenied if listening => {
            "ports below 1024 and some directories need privileges; use a port above 1023, or a path of your own"
        }
        ErrorKind::Unreachable if listening => {
            "the address is none of this machine's; 0.0.0.0 means all of them"
        }
        ErrorKind::Unreachable => "no route leads there; check the address and the network",
        ErrorKind::TimedOut if error.operation() == "connect" => {
            "the host does not answer; check the address, a firewall, or raise --connect-timeout"
        }
        ErrorKind::MessageTooLong => "raise --max-message-len, on both sides",
        ErrorKind::InvalidMessage => {
            "this --framing has no form for it: a line has no newline inside, tlv and none carry no empty message"
        }
        ErrorKind::Protocol | ErrorKind::UnexpectedEnd => {
            "do both sides use the same --framing and --format?"
        }
        ErrorKind::Reset | ErrorKind::Closed => {
            "the other side ended the connection; its log says why, perhaps a limit, --framing or --format"
        }
        ErrorKind::LimitReached => "raise the limit of open files: `ulimit -n`",
        _ => return None,
    })
}
