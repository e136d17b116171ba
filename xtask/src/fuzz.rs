//! `cargo xtask fuzz`: explores beyond the committed corpora.
//!
//! The targets are bolero tests named `fuzz_*` in `crates/*/tests/fuzz.rs`. With the other tests they replay their corpora
//! (`crates/*/tests/__fuzz__/*/corpus`, the folder named as the target without `fuzz_`) and a moment of random inputs;
//! here they run for as long as asked, by libFuzzer, whose compiler pass is part of stable rustc. An input that fails
//! becomes a file in `crashes` beside the corpus, which every later test run replays.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::run;

/// Explore the fuzz targets beyond their corpora, each for a given time
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// A target, or a part of its name; all of them unless set
    target: Option<String>,
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 30, value_name = "N")]
    seconds: u64,
    /// What chooses the inputs; unless set, libFuzzer where there is a C++ compiler, else random
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// Add the inputs that libFuzzer finds worth keeping to the committed corpus instead of to target/fuzz/corpus
    #[arg(long)]
    keep: bool,
    /// List the targets
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// Guided by coverage; builds libFuzzer from source, so it needs a C++ compiler
    Libfuzzer,
    /// Random inputs; needs nothing but the toolchain
    Random,
}

/// A bolero test.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    package: String,
    name: String,
    /// Where bolero keeps the corpus and the crashes of this target.
    folder: PathBuf,
}

impl Fuzz {
    /// Runs the targets one after another.
    ///
    /// # Errors
    /// When no target has the name, or one fails.
    pub(crate) fn run(&self) -> Result<()> {
        let mut targets = targets(&run::root().join("crates"))?;
        if let Some(wanted) = &self.target {
            targets.retain(|target| target.name.contains(wanted));
        }
        if targets.is_empty() && !self.list {
            bail!("no such fuzz target; `cargo xtask fuzz --list` lists them");
        }
        for target in &targets {
            if self.list {
                println!("{:<15} {}", target.package, target.name);
            } else {
                self.explore(target).with_context(|| {
                    format!(
                        "{} failed; failing inputs are in {}",
                        target.name,
                        target.folder.join("crashes").display()
                    )
                })?;
            }
        }
        Ok(())
    }

    fn explore(&self, target: &Target) -> Result<()> {
        match self.engine.unwrap_or_else(Engine::best) {
            Engine::Libfuzzer => run::run(&mut self.libfuzzer(target)?),
            Engine::Random => run::run(&mut self.random(target)),
        }
    }

    fn random(&self, target: &Target) -> Command {
        let mut command = target.test("random");
        command.args(target.only());
        command.env("BOLERO_RANDOM_TEST_TIME_MS", self.seconds.saturating_mul(1000).to_string());
        // The default of a thousand would end the run long before its time is up.
        command.env("BOLERO_RANDOM_ITERATIONS", usize::MAX.to_string());
        command
    }

    fn libfuzzer(&self, target: &Target) -> Result<Command> {
        let (corpus, crashes) = (target.folder.join("corpus"), target.folder.join("crashes"));
        let found = run::root().join("target/fuzz/corpus").join(&target.name);
        for folder in [&corpus, &crashes, &found] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        // New inputs go to the folder that is named first.
        let (first, second) = if self.keep { (&corpus, &found) } else { (&found, &corpus) };
        let arguments = [
            first.display().to_string(),
            second.display().to_string(),
            crashes.display().to_string(),
            format!("-artifact_prefix={}/", crashes.display()),
            format!("-max_total_time={}", self.seconds),
            "-timeout=10".to_owned(),
        ];
        let mut command = target.test("libfuzzer");
        // Build scripts and macros must not be instrumented: naming the machine's own triple keeps the flags from them.
        command.args(["--target", &host()?]).args(target.only());
        command.env("RUSTFLAGS", SANITIZER_COVERAGE.join(" "));
        command.env("BOLERO_FUZZER", "libfuzzer").env("BOLERO_LIBFUZZER_ARGS", arguments.join(" "));
        Ok(command)
    }
}

/// What libFuzzer needs of the compiler.
const SANITIZER_COVERAGE: [&str; 7] = [
    "--cfg fuzzing",
    "--cfg fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

impl Engine {
    fn best() -> Self {
        let compiles =
            ["c++", "g++", "clang++"].iter().any(|compiler| run::succeeds(compiler, &["--version"]));
        if compiles { Self::Libfuzzer } else { Self::Random }
    }
}

impl Target {
    /// Builds the test optimised but with every assertion, apart from the other builds.
    fn test(&self, engine: &str) -> Command {
        let mut command =
            run::cargo(["test", "--release", "--all-features", "-p", &self.package, "--test", "fuzz"]);
        command.args(["--target-dir", &format!("target/fuzz/{engine}")]);
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
        command.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
        command
    }

    fn only(&self) -> [&str; 4] {
        ["--", "--exact", &self.name, "--nocapture"]
    }
}

fn targets(crates: &Path) -> Result<Vec<Target>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(crates).with_context(|| format!("cannot read {}", crates.display()))? {
        let tests = entry?.path().join("tests");
        let Ok(text) = fs::read_to_string(tests.join("fuzz.rs")) else { continue };
        let package =
            tests.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        for name in names(&text) {
            let folder = tests.join("__fuzz__").join(folder(name));
            let target = Target { package: package.clone(), name: name.to_owned(), folder };
            found.insert((package.clone(), name.to_owned()), target);
        }
    }
    Ok(found.into_values().collect())
}

/// The names of the fuzz targets in the text of a test file.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("fn ")?.split(['(', '<']).next()?;
        name.starts_with("fuzz_").then_some(name)
    })
}

/// The folder under `__fuzz__` in which bolero looks for the corpus of target `name`.
pub(crate) fn folder(name: &str) -> &str {
    let name = name.strip_prefix("fuzz_").unwrap_or(name);
    name.strip_suffix("_test").or_else(|| name.strip_suffix("_fuzz")).unwrap_or(name)
}

fn host() -> Result<String> {
    let version =
        run::output(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_tests_whose_name_says_so() {
        let text = "#[test]\nfn fuzz_length_prefix() {\n}\nfn helper() {}\n    fn fuzz_inner_test() {}\n";
        assert_eq!(names(text).collect::<Vec<_>>(), ["fuzz_length_prefix", "fuzz_inner_test"]);
    }

    #[test]
    fn corpora_are_where_bolero_looks_for_them() {
        assert_eq!(folder("fuzz_length_prefix"), "length_prefix");
        assert_eq!(folder("fuzz_address_test"), "address");
    }

    #[test]
    fn a_random_run_lasts_for_its_time() {
        let fuzz = Fuzz { target: None, seconds: 7, engine: None, keep: false, list: false };
        let target = Target {
            package: "net-core".to_owned(),
            name: "fuzz_tlv".to_owned(),
            folder: PathBuf::from("tlv"),
        };
        let command = fuzz.random(&target);
        let time = command.get_envs().find(|(name, _)| *name == "BOLERO_RANDOM_TEST_TIME_MS");
        assert_eq!(time.and_then(|(_, value)| value), Some("7000".as_ref()));
        assert!(command.get_args().any(|argument| argument == "fuzz_tlv"));
    }
}
