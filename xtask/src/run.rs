//! Runs the commands of a task, showing each one before it starts.

use std::{
    env::{self, consts::EXE_SUFFIX},
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // `cargo run` sets the variable to where the checkout is now; the compiled-in path is where it was built.
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// `cargo ARGUMENTS` in the workspace's root, by the toolchain that runs this.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What `cargo run` set for this program itself would only mislead its children.
    for (name, _) in env::vars_os() {
        let own = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if own {
            command.env_remove(name);
        }
    }
    command
}

#[derive(Debug, Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// Where cargo builds to.
///
/// # Errors
/// When cargo does not tell.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cannot read what `cargo metadata` printed")?;
    Ok(metadata.target_directory)
}

/// Shows and runs `command`.
///
/// # Errors
/// When it cannot be started or does not succeed; the message repeats it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = announce(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Shows and runs `command`, and ends it where it takes longer than `bound`.
///
/// # Errors
/// As [`run`], and when it had to be ended.
pub(crate) fn run_for(command: &mut Command, bound: Duration) -> Result<()> {
    let shown = announce(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let end = Instant::now() + bound;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("`{shown}` did not end within {bound:?}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// A command that runs aside, its outputs unseen; it is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Aside(Child);

impl Aside {
    /// Shows and starts `command`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let shown = announce(command);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().map(Self).with_context(|| format!("cannot start `{shown}`"))
    }

    /// Waits for its end, whatever that is.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) fn wait(mut self) -> Result<()> {
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` without showing it and gives its standard output.
///
/// # Errors
/// When it cannot be started or does not succeed; the message holds its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!(
            "`{shown}` failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something that is not UTF-8"))
}

/// Where a release build puts the executable `name` of this workspace, whether it is built or not.
///
/// # Errors
/// As [`target_directory`].
pub(crate) fn release_binary(name: &str) -> Result<PathBuf> {
    Ok(target_directory()?.join("release").join(format!("{name}{EXE_SUFFIX}")))
}

/// Shows and runs `command`, passes its two outputs through, and gives the lines for which `keep` holds.
///
/// # Errors
/// When it cannot be started or does not succeed; the lines kept so far are then part of the message.
pub(crate) fn run_keeping(command: &mut Command, keep: fn(&str) -> bool) -> Result<Vec<String>> {
    let shown = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let kept = pass_through(&mut child, keep)?;
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "{}`{shown}` failed ({status})",
            kept.iter().fold(String::new(), |all, line| all + line + "\n")
        );
    }
    Ok(kept)
}

/// Whether `program ARGUMENTS` starts and succeeds, its outputs unseen.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status()
    };
    quiet(Command::new(program).args(arguments)).is_ok_and(|status| status.success())
}

fn pass_through(child: &mut Child, keep: fn(&str) -> bool) -> Result<Vec<String>> {
    let (out, error) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let errors = scope.spawn(move || {
            error.map_or_else(Vec::new, |error| copy(error, keep, |line| eprintln!("{line}")))
        });
        let mut kept = out.map_or_else(Vec::new, |out| copy(out, keep, |line| println!("{line}")));
        kept.extend(
            errors.join().map_err(|_| anyhow::anyhow!("the thread that reads standard error panicked"))?,
        );
        Ok(kept)
    })
}

fn copy(from: impl Read, keep: fn(&str) -> bool, to: fn(&str)) -> Vec<String> {
    let mut kept = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        to(text);
        if keep(text) {
            kept.push(text.to_owned());
        }
        line.clear();
    }
    kept
}

/// Shows `command`, and returns what was shown.
pub(crate) fn announce(command: &Command) -> String {
    let shown = show(command);
    eprintln!("$ {shown}");
    shown
}

/// `command` as a person would type it, the variables it adds in front.
fn show(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quote(&value?.to_string_lossy())))
    });
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let arguments = command.get_args().map(|argument| quote(&argument.to_string_lossy()));
    variables.chain([program.to_string_lossy().into_owned()]).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@,+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["doc", "--cfg", "a b"]).env("RUSTDOCFLAGS", "-D warnings").env_remove("GONE");
        assert_eq!(show(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --cfg 'a b'");
    }

    #[test]
    fn a_failure_repeats_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed (exit status: 3)");
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        run_for(Command::new("sh").args(["-c", "exit 0"]), Duration::from_mins(1)).unwrap();
        let error = run_for(Command::new("sleep").arg("600"), Duration::from_millis(30)).unwrap_err();
        assert!(error.to_string().contains("did not end within 30ms"), "{error}");
        let error = run_for(Command::new("sh").args(["-c", "exit 3"]), Duration::from_mins(1)).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed (exit status: 3)");
    }

    #[test]
    fn what_runs_aside_is_waited_for_or_ended() {
        let start = Instant::now();
        Aside::start(Command::new("sh").args(["-c", "exit 3"])).unwrap().wait().unwrap();
        drop(Aside::start(Command::new("sleep").arg("600")).unwrap());
        assert!(start.elapsed() < Duration::from_mins(1), "the second one was not waited for");
    }

    #[test]
    fn lines_of_both_outputs_are_kept_on_request() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo keep 1; echo drop; echo keep 2 >&2"]);
        let kept = run_keeping(&mut command, |line| line.starts_with("keep")).unwrap();
        assert_eq!(kept, ["keep 1", "keep 2"]);
    }

    #[test]
    fn kept_lines_survive_a_failure() {
        let error =
            run_keeping(Command::new("sh").args(["-c", "echo Summary; exit 1"]), |_| true).unwrap_err();
        assert!(error.to_string().starts_with("Summary\n"), "{error}");
    }

    #[test]
    fn a_program_that_is_missing_does_not_succeed() {
        assert!(!succeeds("no-such-program-here", &["--version"]));
        assert!(succeeds("sh", &["-c", "exit 0"]));
    }
}
