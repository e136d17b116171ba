//! `cargo xtask sim`: explores the scenarios on a bad network for as many seeds as asked.
//!
//! They are the tests of `crates/net-messaging/tests/sim`, named by the first argument of `explore` or `explore_few`; with the
//! other tests they run for 200 seeds each, the large ones for a few. CI runs all of them for 200.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::run;

const FOLDER: &str = "crates/net-messaging/tests/sim";

const EXAMPLES: &str = "\
Examples:
  cargo xtask sim                                  every scenario, 10 000 seeds each
  cargo xtask sim --seeds 100000 --scenario stall
  cargo xtask sim --scenario push --seed 19        replays one seed and shows its trace
  cargo xtask sim --list";

/// Explore the scenarios on a seeded bad network under paused time; a failure prints its seed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sim {
    /// Seeds of each scenario
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    seeds: u64,
    /// One scenario; all of them unless set
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Replay this seed alone
    #[arg(long, value_name = "S", requires = "scenario", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Scenarios that run at a time; one for each core unless set
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// List the scenarios
    #[arg(long)]
    list: bool,
}

/// A test that explores a scenario.
#[derive(Debug, PartialEq, Eq)]
struct Scenario {
    name: String,
    test: String,
}

impl Sim {
    /// Every scenario for so many seeds.
    pub(crate) fn of(seeds: u64) -> Self {
        Self { seeds, scenario: None, seed: None, threads: None, list: false }
    }

    /// Builds the scenarios in release and explores them.
    ///
    /// # Errors
    /// When there is no such scenario, or a seed fails.
    pub(crate) fn run(&self) -> Result<()> {
        let mut scenarios = scenarios(&run::root().join(FOLDER))?;
        if let Some(name) = &self.scenario {
            scenarios.retain(|scenario| scenario.name == *name);
        }
        if scenarios.is_empty() {
            bail!("no such scenario; `cargo xtask sim --list` lists them");
        }
        if self.list {
            for scenario in scenarios {
                println!("{}", scenario.name);
            }
            return Ok(());
        }
        run::run(&mut run::cargo(["test", "--release", "-p", "net-messaging", "--test", "sim", "--no-run"]))?;
        // The harness is content where no test is of a name that it is given.
        let listed = run::output(&mut test(["--list", "--format", "terse"]))?;
        let missing = missing(&scenarios, &listed);
        if !missing.is_empty() {
            bail!("these scenarios are no tests by the name they are read as: {}", missing.join(", "));
        }
        run::run(&mut self.command(&scenarios))
    }

    fn command(&self, scenarios: &[Scenario]) -> Command {
        let mut command = test(["--exact", "--nocapture"]);
        if let Some(threads) = self.threads {
            command.arg(format!("--test-threads={threads}"));
        }
        command.args(scenarios.iter().map(|scenario| &scenario.test));
        match self.seed {
            Some(seed) => command.env("SIM_SEED", seed.to_string()),
            None => command.env("SIM_SEEDS", self.seeds.to_string()),
        };
        command
    }
}

/// The scenarios' tests in release, with arguments of the harness.
fn test<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = run::cargo(["test", "--release", "-p", "net-messaging", "--test", "sim", "--"]);
    command.args(arguments);
    command
}

/// Returns the tests that are not among those that the harness lists.
fn missing<'a>(scenarios: &'a [Scenario], listed: &str) -> Vec<&'a str> {
    let listed: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let tests = scenarios.iter().map(|scenario| &*scenario.test);
    tests.filter(|test| !listed.contains(test)).collect()
}

/// Finds the scenarios: each test whose body is `explore("name", …)` or `explore_few("name", …)`.
fn scenarios(folder: &Path) -> Result<Vec<Scenario>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        found.extend(named(&module, &text));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn named(module: &str, text: &str) -> Vec<Scenario> {
    let tests = text.split("#[test]").skip(1);
    tests
        .filter_map(|test| {
            let function = test.split_once("fn ")?.1.split('(').next()?;
            let explored = test.split_once("explore(\"").or_else(|| test.split_once("explore_few(\""));
            let name = explored?.1.split('"').next()?;
            Some(Scenario { name: name.to_owned(), test: format!("{module}::{function}") })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        let found = scenarios(&run::root().join(FOLDER)).unwrap();
        let names: Vec<_> = found.iter().map(|scenario| &*scenario.name).collect();
        for name in
            ["cut_drain", "cut_mid_frame", "half_open", "partition", "restart", "restart_crowd", "stall"]
        {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        let mut once = names.clone();
        once.dedup();
        assert_eq!(names, once, "two scenarios share a name");
    }

    #[test]
    fn a_scenario_that_no_test_runs_is_missed() {
        let scenario = |test: &str| Scenario { name: test.to_owned(), test: test.to_owned() };
        let (known, unknown) = (scenario("cut::a35_cut"), scenario("cut::a35_other"));
        let listed = "cut::a35_cut: test\ncut::a35_cut_other: test\n";
        assert_eq!(missing(&[known, unknown], listed), ["cut::a35_other"]);
        assert_eq!(missing(&[scenario("cut::a35_cut")], ""), ["cut::a35_cut"]);
    }

    #[test]
    fn a_scenario_is_run_by_its_test() {
        let text = "#[test]\nfn a35_cut() {\n    explore(\"cut\", cut);\n}\n";
        let found = named("phases", text);
        assert_eq!(found, [Scenario { name: "cut".to_owned(), test: "phases::a35_cut".to_owned() }]);
        let sim = Sim { seed: Some(19), threads: Some(1), ..Sim::of(7) };
        let command = sim.command(&found);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        assert!(arguments.ends_with(&["--test-threads=1".into(), "phases::a35_cut".into()]), "{arguments:?}");
        assert!(command.get_envs().any(|(name, value)| name == "SIM_SEED" && value == Some("19".as_ref())));
    }
}
