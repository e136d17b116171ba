//! Where the messages of `net send` come from: texts, files, standard input.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, stdin},
    path::PathBuf,
    str::FromStr,
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    failure::{Failure, Step},
    options::Size,
};

/// Messages are read ahead in batches of so many.
const BATCH: usize = 256;
/// Or of so many bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches that are read ahead.
const AHEAD: usize = 4;

/// What becomes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Each line, without its end.
    Lines,
    /// All of a file.
    Whole,
    /// Each so many bytes, the last ones perhaps fewer.
    Bytes(usize),
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lines" => Ok(Self::Lines),
            "whole" => Ok(Self::Whole),
            size => match size.parse() {
                Ok(Size(0)) | Err(_) => Err("write lines, whole or a size such as 64KiB".to_owned()),
                Ok(Size(len)) => Ok(Self::Bytes(len)),
            },
        }
    }
}

type Messages = Result<Vec<Bytes>, Failure>;

/// Where messages come from. They are read on a thread of their own, since reading a file or a terminal blocks.
#[derive(Debug)]
pub(crate) struct Source(mpsc::Receiver<Messages>);

impl Source {
    /// Waits for the next messages; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Messages> {
        self.0.recv().await
    }

    pub(crate) fn texts(texts: &[String], count: u64) -> Self {
        let messages: Vec<_> = texts.iter().map(|text| Bytes::from(text.clone())).collect();
        let (tx, rx) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            for _ in 0..count {
                if tx.send(Ok(messages.clone())).await.is_err() {
                    break;
                }
            }
        });
        Self(rx)
    }

    /// Reads files, which must all be there before the first one is read.
    pub(crate) fn files(paths: Vec<PathBuf>, cut: Cut, count: u64, max_len: usize) -> Result<Self, Failure> {
        let open = |path: &PathBuf| {
            File::open(path).map_err(|error| Failure::usage(format_args!("open {}: {error}", path.display())))
        };
        for path in &paths {
            open(path)?;
        }
        Self::start(move |reading| {
            for _ in 0..count {
                for path in &paths {
                    let name = path.display().to_string();
                    reading.read(
                        &mut BufReader::with_capacity(BATCH_BYTES, open(path)?),
                        cut,
                        &name,
                        max_len,
                    )?;
                }
            }
            Ok(())
        })
    }

    pub(crate) fn stdin(cut: Cut, max_len: usize) -> Result<Self, Failure> {
        Self::start(move |reading| {
            reading.read(&mut BufReader::new(stdin().lock()), cut, "standard input", max_len)
        })
    }

    fn start(
        read: impl FnOnce(&mut Reading) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let (tx, rx) = mpsc::channel(AHEAD);
        let mut reading = Reading { tx, batch: Vec::new(), bytes: 0, abandoned: false };
        let work = move || {
            let result = read(&mut reading);
            reading.send();
            if let Err(failure) = result {
                // Where nobody waits any more, the command has failed already.
                let _ = reading.tx.blocking_send(Err(failure));
            }
        };
        thread::Builder::new().name("net-source".into()).spawn(work).map_err(Failure::runtime)?;
        Ok(Self(rx))
    }
}

/// Reads ahead, a batch at a time.
struct Reading {
    tx: mpsc::Sender<Messages>,
    batch: Vec<Bytes>,
    bytes: usize,
    abandoned: bool,
}

impl Reading {
    fn read<R: Read>(
        &mut self,
        from: &mut BufReader<R>,
        cut: Cut,
        name: &str,
        max_len: usize,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::usage(format_args!("read {name}: {error}"));
        let mut number = 0_u64;
        while !self.abandoned {
            number += 1;
            let mut message = Vec::new();
            // One byte more than may be tells that it is too long, before all of it is in memory.
            let too_long = (max_len as u64).saturating_add(1);
            let limit = match cut {
                // With an end of two bytes.
                Cut::Lines => too_long.saturating_add(1),
                Cut::Whole => too_long,
                Cut::Bytes(len) => too_long.min(len as u64),
            };
            let mut part = from.by_ref().take(limit);
            let len = match cut {
                Cut::Lines => part.read_until(b'\n', &mut message),
                Cut::Whole | Cut::Bytes(_) => part.read_to_end(&mut message),
            };
            if len.map_err(failed)? == 0 && !(cut == Cut::Whole && number == 1) {
                break;
            }
            if cut == Cut::Lines && message.pop_if(|byte| *byte == b'\n').is_some() {
                message.pop_if(|byte| *byte == b'\r');
            }
            if message.len() > max_len {
                let what = match cut {
                    Cut::Lines => {
                        format!("line {number} of {name} is longer than a message may be, {max_len} bytes")
                    }
                    _ => format!("{name} is longer than a message may be, {max_len} bytes"),
                };
                return Err(Failure::new(Step::Send, what)
                    .hint("raise --max-message-len, on both sides, or --cut in smaller parts"));
            }
            self.push(message.into());
            // A line that was typed is not kept until there are more.
            if cut == Cut::Lines && from.buffer().is_empty() {
                self.send();
            }
            if cut == Cut::Whole {
                break;
            }
        }
        Ok(())
    }

    fn push(&mut self, message: Bytes) {
        self.bytes += message.len();
        self.batch.push(message);
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        self.bytes = 0;
        if !self.batch.is_empty() {
            self.abandoned |= self.tx.blocking_send(Ok(std::mem::take(&mut self.batch))).is_err();
        }
    }
}
