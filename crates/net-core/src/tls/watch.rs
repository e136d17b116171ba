//! A thread that reloads settings when their files change.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::pem::mistake;
use crate::Result;

/// How many times `settle` a stream of changes can delay a reload.
const MAX_SETTLES: u32 = 25;

/// When changed files are loaded.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::tls::WatchConfig;
///
/// let config = WatchConfig { poll_interval: Duration::from_secs(60), ..WatchConfig::default() };
/// assert_eq!(config.settle, Duration::from_millis(200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// How often the files are read and compared, for changes that the system does not tell of, such as those of a
    /// directory that a link leads to. Default: 10 s.
    pub poll_interval: Duration,
    /// How long the files must be quiet before they are loaded, so that a certificate and its key change together.
    /// Default: 200 ms.
    pub settle: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { poll_interval: Duration::from_secs(10), settle: Duration::from_millis(200) }
    }
}

/// Reloads settings whenever their files change, until it is dropped; made by
/// [`ServerTls::watch`](super::ServerTls::watch) and [`ClientTls::watch`](super::ClientTls::watch).
///
/// # Examples
///
/// ```no_run
/// use net_core::tls::{ClientTls, Pem, TlsWatch, WatchConfig};
///
/// # fn main() -> net_core::Result<()> {
/// let client = ClientTls::builder().ca(Pem::file("ca.pem")).build()?;
/// let watch: TlsWatch = client.watch(WatchConfig::default(), |outcome| {
///     if let Err(error) = outcome {
///         eprintln!("the old authorities stay: {}", error.report());
///     }
/// })?;
/// // As long as it is held, `ca.pem` may be replaced.
/// drop(watch);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the watch"]
pub struct TlsWatch {
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

enum Event {
    Changed,
    Stop,
}

impl TlsWatch {
    /// Calls `reload` when one of `files` may have changed.
    pub(super) fn start(
        files: &[PathBuf],
        config: WatchConfig,
        reload: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let (events, happened) = mpsc::channel();
        let tell = events.clone();
        let files = files.to_vec();
        let watching = move || watch(&files, config, tell, &happened, reload);
        let thread = thread::Builder::new().name("tls-watch".to_owned()).spawn(watching);
        let thread = thread.map_err(|error| mistake(format_args!("a thread that watches files: {error}")))?;
        Ok(Self { events, thread: Some(thread) })
    }
}

impl Drop for TlsWatch {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
        // Its own thread drops it where the callback owns it.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for TlsWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsWatch")
    }
}

fn watch(
    files: &[PathBuf],
    config: WatchConfig,
    tell: Sender<Event>,
    happened: &Receiver<Event>,
    mut reload: impl FnMut(),
) {
    let changed = move |event: notify::Result<notify::Event>| {
        // Our own reading is told of, too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = tell.send(Event::Changed);
        }
    };
    // Without it there is still the interval.
    let mut system = notify::recommended_watcher(changed).ok();
    let mut watched = BTreeSet::new();
    loop {
        if let Some(system) = &mut system {
            watch_directories(system, files, &mut watched);
        }
        reload();
        match happened.recv_timeout(config.poll_interval) {
            Ok(Event::Changed) => {}
            Err(RecvTimeoutError::Timeout) => continue,
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        for _ in 0..MAX_SETTLES {
            match happened.recv_timeout(config.settle) {
                Ok(Event::Changed) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Watches the directory of each file, and of what it links to: files are replaced more often than written.
fn watch_directories(system: &mut RecommendedWatcher, files: &[PathBuf], watched: &mut BTreeSet<PathBuf>) {
    let real = files.iter().filter_map(|file| file.canonicalize().ok());
    let wanted: BTreeSet<PathBuf> =
        files.iter().cloned().chain(real).filter_map(|file| directory(&file)).collect();
    for gone in watched.difference(&wanted) {
        let _ = system.unwatch(gone);
    }
    watched.retain(|directory| wanted.contains(directory));
    for directory in wanted {
        if !watched.contains(&directory) && system.watch(&directory, RecursiveMode::NonRecursive).is_ok() {
            watched.insert(directory);
        }
    }
}

fn directory(file: &Path) -> Option<PathBuf> {
    let parent = file.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}
