//! Where the command writes: results to standard output, everything else to standard error.

use std::{
    fmt,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::failure::Failure;

/// Emphasis of what matters most in a line.
pub(crate) const STRONG: Style = Style::new().bold();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What helps.
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default();

/// How results are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// As JSON, one object a line.
    pub(crate) json: bool,
}

impl Output {
    /// Writes a result: `value` for machines, or what `text` says for people.
    pub(crate) fn result<T: Serialize>(self, value: &T, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json { written(line(json(value))) } else { written(line(text)) }
    }

    /// Writes a line of a result that is for people.
    pub(crate) fn text(self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json { Ok(()) } else { written(line(text)) }
    }

    /// Tells people how it goes; machines read results only.
    pub(crate) fn note(self, text: impl fmt::Display) {
        if !self.json {
            note(text);
        }
    }
}

/// Writes one line to standard output, without colours where that is no terminal, and at once: a script may wait for it.
pub(crate) fn line(text: impl fmt::Display) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Where nobody reads a result, nothing is lost; a full disk has lost it.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format_args!("write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one line to standard error.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Writes text that ends in a line feed to standard error.
pub(crate) fn notes(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Writes one object in one line.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// A text of a peer without control characters, which would steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[derive(Debug, Serialize)]
struct FailureJson<'a> {
    error: &'a str,
    hint: Option<&'a str>,
    status: u8,
}

/// Writes why the command failed and what to do about it to standard error.
pub(crate) fn failure(failure: &Failure, as_json: bool) {
    if as_json {
        let value =
            FailureJson { error: &failure.what, hint: failure.hint.as_deref(), status: failure.step as u8 };
        return note(json(&value));
    }
    note(format_args!("{BAD}error:{BAD:#} {}", failure.what));
    if let Some(hint) = &failure.hint {
        note(format_args!("{HELP} hint:{HELP:#} {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a37_a_peer_does_not_steer_the_terminal() {
        assert_eq!(printable("grüße\t\x1b[31mred\n"), "grüße\t\\u{1b}[31mred\\n");
    }
}
