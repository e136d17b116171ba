//! What a suite reports: the verdict on each case, the table of them, and what went wrong.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::suite::Suite;

/// The groups of cases, as the suite names them.
const GROUPS: [(u32, &str); 11] = [
    (1, "framing"),
    (2, "pings and pongs"),
    (3, "reserved bits"),
    (4, "opcodes"),
    (5, "fragmentation"),
    (6, "UTF-8"),
    (7, "closing"),
    (9, "limits and speed"),
    (10, "others"),
    (12, "compression: payloads"),
    (13, "compression: parameters"),
];

/// What kosoku says of itself, in the groups of compression alone, where a message comes back uncompressed because it is short
/// or does not shrink: it stops there, and has judged nothing.
const SPURIOUS: &str = "Strings must be encoded before hashing";

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    /// The suite tells what was done and has no opinion.
    Informational,
    /// A known fault of the suite, which did not judge.
    Spurious,
    NonStrict,
    Unimplemented,
    Failed,
}

impl Verdict {
    const ALL: [Self; 6] =
        [Self::Ok, Self::Informational, Self::Spurious, Self::NonStrict, Self::Unimplemented, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Informational => "informational",
            Self::Spurious => "spurious",
            Self::NonStrict => "non-strict",
            Self::Unimplemented => "unimplemented",
            Self::Failed => "failed",
        }
    }

    fn is_failure(self) -> bool {
        matches!(self, Self::NonStrict | Self::Unimplemented | Self::Failed)
    }

    fn of(behavior: &str) -> Self {
        match behavior {
            "OK" => Self::Ok,
            "INFORMATIONAL" => Self::Informational,
            "NON-STRICT" => Self::NonStrict,
            "UNIMPLEMENTED" => Self::Unimplemented,
            // Among them what is said of closing: WRONG CODE, UNCLEAN, FAILED BY CLIENT.
            _ => Self::Failed,
        }
    }
}

/// A case in `index.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    behavior: String,
    behavior_close: String,
    reportfile: PathBuf,
}

/// A case that was judged.
#[derive(Debug)]
pub(super) struct Case {
    /// Its number: `9.1.1` is 9, 1, 1.
    number: Vec<u32>,
    verdict: Verdict,
    /// How it and its end were.
    behavior: (String, String),
    /// The file that tells all of it.
    report: PathBuf,
    /// What was expected and what came, unless all is well.
    why: String,
}

impl Case {
    /// Returns its number as it is written.
    pub(super) fn name(&self) -> String {
        self.number.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }

    fn group(&self) -> u32 {
        self.number.first().copied().unwrap_or_default()
    }
}

/// Reads the report in `directory`.
///
/// # Errors
/// When there is none, it is of more than one agent, or of no case.
pub(super) fn read(directory: &Path, suite: Suite) -> Result<Vec<Case>> {
    let index = directory.join("index.json");
    let text = fs::read_to_string(&index)
        .with_context(|| format!("the suite has written no report: cannot read {}", index.display()))?;
    let mut cases = parse(&text).with_context(|| format!("cannot make sense of {}", index.display()))?;
    for case in &mut cases {
        case.report = directory.join(&case.report);
        if !case.verdict.is_failure() {
            continue;
        }
        let text = fs::read_to_string(&case.report).unwrap_or_default();
        case.why = why(&serde_json::from_str(&text).unwrap_or_default());
        if suite == Suite::Kosoku && is_spurious(case, &text) {
            case.verdict = Verdict::Spurious;
        }
    }
    Ok(cases)
}

/// Reads an `index.json`: for the one agent, each case.
fn parse(text: &str) -> Result<Vec<Case>> {
    let index: BTreeMap<String, BTreeMap<String, Entry>> = serde_json::from_str(text)?;
    ensure!(index.len() == 1, "it is of {} agents", index.len());
    let entries = index.into_values().flatten();
    let mut cases = entries
        .map(|(name, entry)| {
            let number = name.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>();
            let Entry { behavior, behavior_close, reportfile } = entry;
            Ok(Case {
                number: number.with_context(|| format!("{name:?} is no case"))?,
                verdict: Verdict::of(&behavior).max(Verdict::of(&behavior_close)),
                behavior: (behavior, behavior_close),
                report: reportfile,
                why: String::new(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    ensure!(!cases.is_empty(), "it is of no case");
    cases.sort_by(|one, other| one.number.cmp(&other.number));
    Ok(cases)
}

fn is_spurious(case: &Case, report: &str) -> bool {
    matches!(case.group(), 12 | 13) && report.contains(SPURIOUS)
}

/// Says in one line what a case's own report says against us.
fn why(report: &Value) -> String {
    let text = |name: &str| report.get(name).and_then(Value::as_str).unwrap_or("?");
    let part = |name: &str| report.get(name).unwrap_or(&Value::Null).to_string();
    let code = report.get("remoteCloseCode").unwrap_or(&Value::Null);
    format!(
        "{} {} (our close code: {code}). Expected {:.300}, closing {:.200}, received {:.300}",
        text("result"),
        text("resultClose"),
        part("expected"),
        part("expectedClose"),
        part("received"),
    )
}

/// Draws how many cases of each group had which verdict; verdicts that no case had are left out.
pub(super) fn table(cases: &[Case]) -> String {
    let count = |group: Option<u32>, verdict: Option<Verdict>| {
        let of = |case: &&Case| {
            group.is_none_or(|group| case.group() == group)
                && verdict.is_none_or(|verdict| case.verdict == verdict)
        };
        cases.iter().filter(of).count()
    };
    let shown = |verdict: &Verdict| *verdict == Verdict::Ok || count(None, Some(*verdict)) > 0;
    let verdicts: Vec<_> = Verdict::ALL.into_iter().filter(shown).collect();
    let row = |name: &str, cells: Vec<String>| {
        cells.into_iter().fold(format!("{name:<27}"), |row, cell| format!("{row} {cell:>13}")) + "\n"
    };
    let names = verdicts.iter().map(|verdict| verdict.name().to_owned());
    let mut drawn = row("group", ["cases".to_owned()].into_iter().chain(names).collect());
    let mut line = |name: &str, group: Option<u32>| {
        let of_all = [None].into_iter().chain(verdicts.iter().copied().map(Some));
        drawn += &row(name, of_all.map(|verdict| count(group, verdict).to_string()).collect());
    };
    let mut groups: Vec<_> = cases.iter().map(Case::group).collect();
    groups.dedup();
    for group in groups {
        line(&format!("{group:>2} {}", group_name(group)), Some(group));
    }
    line("all", None);
    drawn.truncate(drawn.trim_end().len());
    drawn
}

/// Returns what a group of cases is about.
pub(super) fn group_name(group: u32) -> &'static str {
    GROUPS.iter().find(|(number, _)| *number == group).map_or("?", |(_, name)| name)
}

/// Returns the names of the cases that a fault of the suite left without judgement.
pub(super) fn spurious(cases: &[Case]) -> Vec<String> {
    cases.iter().filter(|case| case.verdict == Verdict::Spurious).map(Case::name).collect()
}

/// Says of each case that is not as it should be how it was, why, and where its report is.
pub(super) fn failures(cases: &[Case]) -> Vec<String> {
    let failed = cases.iter().filter(|case| case.verdict.is_failure());
    failed
        .map(|case| {
            let (behavior, close) = &case.behavior;
            let mut said = format!("{}: {behavior}, closing {close}", case.name());
            let written = write!(said, ", see {}\n      {}", case.report.display(), case.why);
            debug_assert!(written.is_ok(), "writing to a string does not fail");
            said
        })
        .collect()
}

/// Returns what the summary says of one side, which was judged in this time.
pub(super) fn summary(cases: &[Case], seconds: f64) -> Value {
    let count = |verdict: Verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    let counts: serde_json::Map<_, _> =
        Verdict::ALL.into_iter().map(|verdict| (verdict.name().to_owned(), json!(count(verdict)))).collect();
    let failures = cases.iter().filter(|case| case.verdict.is_failure()).map(|case| {
        let (behavior, close) = &case.behavior;
        json!({
            "case": case.name(),
            "behavior": behavior,
            "behavior_close": close,
            "report": case.report,
            "why": case.why,
        })
    });
    json!({
        "seconds": seconds,
        "cases": cases.len(),
        "verdicts": counts,
        "failures": failures.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
