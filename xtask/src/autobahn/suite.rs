//! The suites that judge, how each is installed and how it is started.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    run,
    tools::{self, KOSOKU, PYTHON, VIRTUALENV},
};

/// Autobahn|Testsuite and all that it needs, at the last versions for Python 2.7.
const PINS: [&str; 32] = [
    "autobahntestsuite==25.10.1",
    "attrs==21.4.0",
    "autobahn==0.10.9",
    "Automat==22.10.0",
    "cffi==1.15.1",
    "constantly==15.1.0",
    "cryptography==3.3.2",
    "enum34==1.1.10",
    "hyperlink==21.0.0",
    "idna==2.10",
    "incremental==16.10.1",
    "ipaddress==1.0.23",
    "Jinja2==2.11.3",
    "klein==17.10.0",
    "linecache2==1.0.0",
    "MarkupSafe==1.1.1",
    "pyasn1==0.5.1",
    "pyasn1-modules==0.3.0",
    "pycparser==2.21",
    "PyHamcrest==1.10.1",
    "pyOpenSSL==19.1.0",
    "service-identity==18.1.0",
    "six==1.16.0",
    "traceback2==1.4.0",
    "Twisted==19.10.0",
    "txaio==2.1.0",
    "typing==3.10.0.0",
    "ujson==2.0.3",
    "unittest2==1.1.0",
    "Werkzeug==1.0.1",
    "wsaccel==0.6.6",
    "zope.interface==4.6.0",
];

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suite {
    /// Autobahn|Testsuite itself.
    Wstest,
    /// The same cases on another runner.
    Kosoku,
}

/// A suite that can be started.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) suite: Suite,
    python: PathBuf,
    script: PathBuf,
}

impl Suite {
    /// Returns its name and version, as pip takes them.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wstest => PINS[0],
            Self::Kosoku => "kosoku==0.1.0",
        }
    }

    /// Installs it below `directory` or among the tools, unless it is there with the same pins.
    ///
    /// # Errors
    /// When there is no Python for it, or its packages cannot be installed.
    pub(super) fn ensure(self, directory: &Path) -> Result<Installed> {
        tools::ensure_programs(&[PYTHON])?;
        let (python, script) = match self {
            Self::Wstest => (wstest(&directory.join("venv"))?, "wstest"),
            Self::Kosoku => (KOSOKU.ensure()?, "kosoku"),
        };
        let script = python.with_file_name(script);
        Ok(Installed { suite: self, python, script })
    }
}

impl Installed {
    /// Returns the command that judges the server at `port` by `cases`, its files in `place`.
    ///
    /// # Errors
    /// When its specification cannot be written.
    pub(super) fn against_server(&self, place: &Path, port: u16, cases: &[String]) -> Result<Command> {
        match self.suite {
            Suite::Wstest => {
                let servers = json!([{"agent": "net", "url": format!("ws://127.0.0.1:{port}")}]);
                self.specified(place, "fuzzingclient", json!({"servers": servers}), cases)
            }
            Suite::Kosoku => {
                let mut command = self.kosoku(place, "fuzzingclient", port, cases);
                command.args(["-p", "2"]);
                Ok(command)
            }
        }
    }

    /// Returns the command that judges whoever connects to `port` by `cases`, its files in `place`.
    ///
    /// # Errors
    /// When its specification cannot be written.
    pub(super) fn against_client(&self, place: &Path, port: u16, cases: &[String]) -> Result<Command> {
        match self.suite {
            Suite::Wstest => {
                let url = json!({"url": format!("ws://127.0.0.1:{port}")});
                let mut command = self.specified(place, "fuzzingserver", url, cases)?;
                // No pages about the results.
                command.args(["-u", "0"]);
                Ok(command)
            }
            Suite::Kosoku => Ok(self.kosoku(place, "fuzzingserver", port, cases)),
        }
    }

    fn specified(&self, place: &Path, mode: &str, part: Value, cases: &[String]) -> Result<Command> {
        let mut spec = json!({
            "outdir": place.join("report"),
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        });
        if let (Value::Object(spec), Value::Object(part)) = (&mut spec, part) {
            spec.extend(part);
        }
        let file = place.join("spec.json");
        fs::write(&file, spec.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = self.command();
        command.args(["-m", mode, "-s"]).arg(file);
        Ok(command)
    }

    fn kosoku(&self, place: &Path, mode: &str, port: u16, cases: &[String]) -> Command {
        let mut command = self.command();
        command.args(["-m", mode, "-o"]).arg(place.join("report"));
        for case in cases.iter().filter(|case| *case != "*") {
            command.args(["-i", case]);
        }
        command.arg(format!("127.0.0.1:{port}"));
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        // What it prints is its progress.
        command.arg(&self.script).env("PYTHONUNBUFFERED", "1");
        command
    }
}

/// Makes the environment of Python 2.7 in `venv` unless it is there with the same pins; gives its Python.
fn wstest(venv: &Path) -> Result<PathBuf> {
    let python = venv.join("bin").join("python");
    let (installed, pins) = (venv.join("pins"), PINS.join("\n"));
    if fs::read_to_string(&installed).is_ok_and(|found| found == pins) {
        return Ok(python);
    }
    let python2 = python2().context(
        "Autobahn|Testsuite runs on Python 2.7 alone, which is neither under pyenv nor on the PATH. Get it by\n    \
         pyenv install 2.7.18\nor judge by `--fast`, which needs Python 3 alone",
    )?;
    eprintln!("Autobahn|Testsuite is missing; it is installed from PyPI once");
    let virtualenv = VIRTUALENV.ensure()?;
    run::run(
        Command::new(virtualenv)
            .args(["-m", "virtualenv", "--quiet", "--clear", "-p"])
            .arg(python2)
            .arg(venv),
    )?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-python-version-warning"];
    run::run(Command::new(&python).args(pip).arg("--no-deps").args(PINS))
        .context("Autobahn|Testsuite could not be installed")?;
    // Last, so that an installation that was cut short is made again.
    fs::write(&installed, pins)?;
    Ok(python)
}

/// Finds Python 2.7: under pyenv, where it need not be the chosen version, or on the PATH.
fn python2() -> Option<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| env::home_dir().map(|home| home.join(".pyenv")));
    let mut found: Vec<_> = root
        .and_then(|root| fs::read_dir(root.join("versions")).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("2.7")))
        .map(|path| path.join("bin").join("python2.7"))
        .filter(|python| python.exists())
        .collect();
    found.sort();
    found.pop().or_else(|| run::succeeds("python2.7", &["--version"]).then(|| "python2.7".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    fn installed(suite: Suite) -> Installed {
        Installed { suite, python: "python".into(), script: "script".into() }
    }

    #[test]
    fn each_package_is_pinned_once() {
        let mut names: Vec<_> = PINS.iter().filter_map(|pin| pin.split_once("==")).collect();
        assert_eq!(names.len(), PINS.len());
        names.sort_unstable();
        names.dedup_by_key(|(name, _)| *name);
        assert_eq!(names.len(), PINS.len());
    }

    #[test]
    fn the_quick_runner_is_told_all_by_flags() {
        let place = Path::new("place");
        let all = installed(Suite::Kosoku).against_server(place, 9001, &["*".to_owned()]).unwrap();
        assert_eq!(words(&all), "script -m fuzzingclient -o place/report 127.0.0.1:9001 -p 2");
        let some = ["1.*".to_owned(), "9.1.1".to_owned()];
        let some = installed(Suite::Kosoku).against_client(place, 9001, &some).unwrap();
        assert_eq!(words(&some), "script -m fuzzingserver -o place/report -i 1.* -i 9.1.1 127.0.0.1:9001");
    }

    #[test]
    fn the_suite_itself_is_told_all_by_a_file() {
        let place = env::temp_dir().join(format!("xtask-autobahn-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let command = installed(Suite::Wstest).against_server(&place, 9001, &["1.*".to_owned()]).unwrap();
        let spec: Value =
            serde_json::from_str(&fs::read_to_string(place.join("spec.json")).unwrap()).unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert!(words(&command).starts_with("script -m fuzzingclient -s "));
        assert_eq!(spec["servers"], json!([{"agent": "net", "url": "ws://127.0.0.1:9001"}]));
        assert_eq!(spec["cases"], json!(["1.*"]));
    }
}
