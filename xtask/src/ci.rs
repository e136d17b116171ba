//! `cargo xtask ci`: everything that must hold before a change lands, step by step.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::{
    autobahn::Autobahn,
    run, scan,
    sim::Sim,
    test::{MEMBERS, Test},
    tidy::Tidy,
    tools::{DENY, HACK},
};

/// Check everything that must hold before a change lands; stops at the first step that fails
#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// List the steps and what each one checks
    #[arg(long)]
    list: bool,
    /// Run these steps only (repeatable)
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
    /// Leave these steps out (repeatable)
    #[arg(long, value_name = "STEP")]
    skip: Vec<Step>,
}

/// The steps in the order in which they run: what is quick or often fails comes first, the tests last, so that the
/// runner's summary closes the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Step {
    Lock,
    Fmt,
    Tidy,
    Deny,
    Clippy,
    Features,
    Docs,
    Demo,
    Scan,
    Autobahn,
    Sim,
    Test,
}

impl Ci {
    /// Runs the chosen steps and prints how long each took.
    ///
    /// # Errors
    /// The first step that fails, with the command that repeats it.
    pub(crate) fn run(&self) -> Result<()> {
        let steps = self.steps();
        if self.list {
            for step in steps {
                println!("{:<9} {}", step.name(), step.purpose());
            }
            return Ok(());
        }
        // Its last minutes are one linker's, on one core: the checks have the others meanwhile.
        let mut release = steps.contains(&Step::Demo).then(build_command_aside).transpose()?;
        let mut times = Vec::new();
        let mut summary = None;
        for step in steps {
            println!("\n== {}: {}", step.name(), step.purpose());
            let start = Instant::now();
            if step == Step::Demo {
                release.take().map_or(Ok(()), run::Aside::wait)?;
            }
            let done = step.run();
            times.push((step, start.elapsed(), done.is_ok()));
            match done {
                Ok(closing) => summary = closing.or(summary),
                Err(error) => {
                    println!("\n{}", table(&times));
                    return Err(error.context(format!(
                        "step `{0}`; repeat it by `cargo xtask ci --only {0}`",
                        step.name()
                    )));
                }
            }
        }
        println!("\n{}", table(&times));
        if let Some(summary) = summary {
            println!("{summary}");
        }
        Ok(())
    }

    fn steps(&self) -> Vec<Step> {
        let skipped: BTreeSet<_> = self.skip.iter().collect();
        let chosen =
            |step: &Step| (self.only.is_empty() || self.only.contains(step)) && !skipped.contains(step);
        Step::value_variants().iter().copied().filter(chosen).collect()
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Lock => "Cargo.lock is committed and answers every manifest",
            Self::Fmt => "rustfmt changes nothing",
            Self::Tidy => {
                "floors, file length, lib.rs without code, manifests, documents that name what exists"
            }
            Self::Deny => "version floors, licences and sources of the dependencies",
            Self::Clippy => "no warning from rustc or clippy, all targets, all features",
            Self::Features => "each library alone and each feature alone, without dev-dependencies",
            Self::Docs => "the documentation builds without a warning",
            Self::Demo => "the README's main job passes",
            Self::Scan => "sslyze finds nothing against our TLS server",
            Self::Autobahn => {
                "Autobahn|Testsuite finds nothing against our WebSocket server and client, every case"
            }
            Self::Sim => "the scenarios on a bad network hold for 200 seeds each",
            Self::Test => "all tests and documentation examples",
        }
    }

    /// Runs the step; the tests give the closing lines of their runner.
    fn run(self) -> Result<Option<String>> {
        match self {
            Self::Lock => {
                run::output(&mut run::cargo(["metadata", "--locked", "--format-version", "1"]))?;
                let changed = ["status", "--porcelain", "--", "Cargo.lock", "Cargo.toml", "*/Cargo.toml"];
                let changed = run::output(Command::new("git").args(changed).current_dir(run::root()))?;
                ensure!(
                    !is_stale(&changed),
                    "the committed Cargo.lock is stale: commit the one that cargo has just written"
                );
            }
            Self::Fmt => run::run(&mut run::cargo(["fmt", "--all", "--check"]))?,
            Self::Tidy => Tidy::default().run()?,
            Self::Deny => {
                DENY.ensure()?;
                run::run(&mut run::cargo(["deny", "check", "bans", "licenses", "sources"]))?;
            }
            Self::Clippy => {
                let clippy =
                    ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
                run::run(&mut run::cargo(clippy))?;
            }
            Self::Features => {
                HACK.ensure()?;
                // Resolver 3 leaves dev-dependencies and their features out of whatever builds no test, so nothing is
                // gained by `--no-dev-deps`, which rewrites the manifests while it runs. Clippy instead of check: a
                // feature alone must be as free of warnings as all of them together. What nobody depends on has no features,
                // and is built alone wherever it is run.
                // All features of all are clippy's own step.
                let hack = ["hack", "clippy", "--each-feature", "--exclude-all-features"];
                let programs = ["net-cli", "net-benches", "net-examples", "xtask"];
                let libraries = programs.iter().flat_map(|program| ["--exclude", program]);
                run::run(run::cargo(hack).args(MEMBERS).args(libraries).args(["--", "-D", "warnings"]))?;
            }
            Self::Docs => {
                let doc = ["doc", "--no-deps", "--all-features"];
                run::run(run::cargo(doc).args(MEMBERS).env("RUSTDOCFLAGS", "-D warnings"))?;
            }
            Self::Demo => run::run(&mut run::cargo(["run", "--release", "-p", "net-cli", "--", "demo"]))?,
            Self::Scan => scan::scan()?,
            Self::Autobahn => Autobahn::whole().run()?,
            Self::Sim => Sim::of(200).run()?,
            Self::Test => return Test { arguments: Vec::new() }.run_for_summary().map(Some),
        }
        Ok(None)
    }
}

/// Starts to build the command `net`, while other steps run. What it has to say is heard from whoever builds it next.
fn build_command_aside() -> Result<run::Aside> {
    run::Aside::start(&mut run::cargo(["build", "--release", "-p", "net-cli"]))
}

/// Whether cargo had to change the lock file although no manifest differs from the committed one.
///
/// The cargo that started this program has already mended a stale lock file, so `--locked` alone would never complain.
fn is_stale(status: &str) -> bool {
    let changed = |name: &str| status.lines().any(|line| line.ends_with(name));
    changed("Cargo.lock") && !changed("Cargo.toml")
}

fn table(times: &[(Step, Duration, bool)]) -> String {
    let rows = times.iter().map(|(step, time, passed)| {
        format!(
            "{:<9} {:>8.1} s  {}\n",
            step.name(),
            time.as_secs_f64(),
            if *passed { "passed" } else { "FAILED" }
        )
    });
    let total: Duration = times.iter().map(|(_, time, _)| time).sum();
    rows.chain([format!("{:<9} {:>8.1} s", "total", total.as_secs_f64())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ci(only: &[Step], skip: &[Step]) -> Ci {
        Ci { list: false, only: only.to_vec(), skip: skip.to_vec() }
    }

    #[test]
    fn every_step_runs_unless_told_otherwise_and_the_tests_come_last() {
        let steps = ci(&[], &[]).steps();
        assert_eq!(steps.len(), Step::value_variants().len());
        assert_eq!(steps.last(), Some(&Step::Test));
    }

    #[test]
    fn only_and_skip_choose_steps_in_the_fixed_order() {
        assert_eq!(ci(&[Step::Tidy, Step::Fmt], &[]).steps(), [Step::Fmt, Step::Tidy]);
        assert_eq!(ci(&[Step::Tidy, Step::Fmt], &[Step::Fmt]).steps(), [Step::Tidy]);
        assert!(!ci(&[], &[Step::Test]).steps().contains(&Step::Test));
    }

    #[test]
    fn a_lock_file_that_cargo_had_to_mend_is_stale() {
        assert!(is_stale(" M Cargo.lock\n") && is_stale("?? Cargo.lock\n"));
        assert!(!is_stale("") && !is_stale(" M Cargo.lock\n M crates/net-tcp/Cargo.toml\n"));
    }

    #[test]
    fn the_table_names_what_failed_and_sums_the_times() {
        let times =
            [(Step::Fmt, Duration::from_millis(1500), true), (Step::Tidy, Duration::from_millis(500), false)];
        let expected = "fmt            1.5 s  passed\ntidy           0.5 s  FAILED\ntotal          2.0 s";
        assert_eq!(table(&times), expected);
    }
}
