//! `cargo xtask autobahn`: Autobahn|Testsuite judges our WebSocket server and client, and whatever is not strictly right is a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;

mod report;
mod running;
mod side;
mod suite;

use crate::run;
use report::Case;
use side::Side;
use suite::{Installed, Suite};

const EXAMPLES: &str = "\
Examples:
  cargo xtask autobahn                              all cases, server and client
  cargo xtask autobahn --only server --cases '1.*,9.*'
  cargo xtask autobahn --fast                       by a quicker runner, without Python 2.7

The table is printed, the reports are below target/autobahn, the summary is target/autobahn/summary.json.";

/// Have Autobahn|Testsuite judge our WebSocket server and client; a case that is not strictly right is a failure
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Autobahn {
    /// Run these cases only, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "*")]
    pub(crate) cases: Vec<String>,
    /// Judge one side only
    #[arg(long, value_enum)]
    only: Option<Side>,
    /// Have kosoku run the cases, which is quicker and needs Python 3 alone; what fails by its own fault is listed as such
    #[arg(long)]
    fast: bool,
}

/// So many cases the suite has: fewer mean that some were not run.
const CASES: usize = 517;

impl Autobahn {
    /// What continuous integration runs: every case, on both sides.
    pub(crate) fn whole() -> Self {
        Self { cases: vec!["*".to_owned()], only: None, fast: false }
    }

    fn is_whole(&self) -> bool {
        self.cases.iter().any(|case| case == "*")
    }
}

/// One side, judged.
struct Judged {
    side: Side,
    time: Duration,
    cases: Vec<Case>,
}

impl Autobahn {
    /// Installs the suite, builds what it judges, has it judge both sides at a time, and prints the tables.
    ///
    /// # Errors
    /// When something cannot be installed, built or started, or a case is not as it should be: each of them.
    pub(crate) fn run(&self) -> Result<()> {
        let directory = run::target_directory()?.join("autobahn");
        fs::create_dir_all(&directory)?;
        let suite = if self.fast { Suite::Kosoku } else { Suite::Wstest };
        let installed = suite.ensure(&directory)?;
        let sides: Vec<_> = Side::value_variants()
            .iter()
            .filter(|side| self.only.is_none_or(|only| only == **side))
            .collect();
        let programs =
            sides.iter().map(|side| Ok((**side, side.build()?))).collect::<Result<Vec<(Side, PathBuf)>>>()?;
        let judged = thread::scope(|scope| {
            let running: Vec<_> = programs
                .iter()
                .map(|(side, program)| scope.spawn(|| self.judge(*side, program, &installed, &directory)))
                .collect();
            let joined =
                running.into_iter().map(|one| one.join().map_err(|_| anyhow!("a judge panicked"))?);
            joined.collect::<Vec<Result<_>>>()
        });
        let judged = judged.into_iter().collect::<Result<Vec<_>>>()?;
        self.tell(&judged, suite, &directory)
    }

    fn judge(&self, side: Side, program: &Path, installed: &Installed, directory: &Path) -> Result<Judged> {
        let place = directory.join(side.name());
        if place.exists() {
            // What an earlier run has left is not to be taken for this one's.
            fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
        }
        fs::create_dir_all(&place)?;
        let start = Instant::now();
        let announced = side
            .judge(program, installed, &place, &self.cases)
            .with_context(|| format!("the {} was not judged, see {}", side.name(), place.display()))?;
        let time = start.elapsed();
        let cases = report::read(&place.join("report"), installed.suite)?;
        ensure!(
            announced.is_none_or(|announced| announced == cases.len()),
            "the {} was judged by {} cases alone of {}: it went away, see {}",
            side.name(),
            cases.len(),
            announced.unwrap_or_default(),
            place.display()
        );
        ensure!(
            self.fast || !self.is_whole() || cases.len() == CASES,
            "the {} was judged by {} cases of {CASES}, see {}",
            side.name(),
            cases.len(),
            place.display()
        );
        Ok(Judged { side, time, cases })
    }

    fn tell(&self, judged: &[Judged], suite: Suite, directory: &Path) -> Result<()> {
        let mut failures = Vec::new();
        let mut summary = serde_json::Map::new();
        for Judged { side, time, cases } in judged {
            let seconds = time.as_secs_f64();
            println!("\nour {} by {}, {seconds:.1} s\n{}", side.name(), suite.name(), report::table(cases));
            let spurious = report::spurious(cases);
            if !spurious.is_empty() {
                println!("not judged, by a fault of this suite: {}", spurious.join(", "));
            }
            failures
                .extend(report::failures(cases).into_iter().map(|said| format!("{} {said}", side.name())));
            summary.insert(side.name().to_owned(), report::summary(cases, seconds));
        }
        let file = directory.join("summary.json");
        let summary = json!({"suite": suite.name(), "selected": self.cases, "judged": summary});
        fs::write(&file, format!("{summary:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        if failures.is_empty() {
            return Ok(());
        }
        bail!("{} cases are not as they should be:\n  {}", failures.len(), failures.join("\n  "))
    }
}
