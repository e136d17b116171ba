//! A thread that reloads settings when their files change.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::pem::mistake;
use crate::Result;

/// For how many times `settle` a stream of changes can delay a reload.
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
    happened: SyncSender<()>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TlsWatch {
    /// Calls `reload` when one of `files` may have changed.
    pub(super) fn start(
        files: &[PathBuf],
        config: WatchConfig,
        reload: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        // However much changes before it is looked at, to be told once is enough.
        let (tell, happened) = mpsc::sync_channel(1);
        let stopped = Arc::new(AtomicBool::new(false));
        let events = Events { happened, stopped: stopped.clone() };
        let (files, changed) = (files.to_vec(), tell.clone());
        let watching = move || watch(&files, config, changed, &events, reload);
        let thread = thread::Builder::new().name("tls-watch".to_owned()).spawn(watching);
        let thread = thread.map_err(|error| mistake(format_args!("a thread that watches files: {error}")))?;
        Ok(Self { happened: tell, stopped, thread: Some(thread) })
    }
}

impl Drop for TlsWatch {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Where it is full, the thread is about to look anyway.
        let _ = self.happened.try_send(());
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

/// What the thread waits for.
struct Events {
    happened: Receiver<()>,
    stopped: Arc<AtomicBool>,
}

enum Event {
    Changed,
    Quiet,
    Stop,
}

impl Events {
    fn wait(&self, longest: Duration) -> Event {
        let happened = self.happened.recv_timeout(longest);
        if self.stopped.load(Ordering::Acquire) {
            return Event::Stop;
        }
        match happened {
            Ok(()) => Event::Changed,
            Err(RecvTimeoutError::Timeout) => Event::Quiet,
            Err(RecvTimeoutError::Disconnected) => Event::Stop,
        }
    }
}

fn watch(
    files: &[PathBuf],
    config: WatchConfig,
    tell: SyncSender<()>,
    events: &Events,
    mut reload: impl FnMut(),
) {
    let changed = move |event: notify::Result<notify::Event>| {
        // Our own reading is told of, too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = tell.try_send(());
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
        match events.wait(config.poll_interval) {
            Event::Changed => {}
            Event::Quiet => continue,
            Event::Stop => return,
        }
        let began = Instant::now();
        while began.elapsed() < config.settle.saturating_mul(MAX_SETTLES) {
            match events.wait(config.settle) {
                Event::Changed => {}
                Event::Quiet => break,
                Event::Stop => return,
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
