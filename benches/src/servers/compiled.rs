//! The peers in C++, which the orchestrator compiles where what they need is installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Their sources, so that the orchestrator needs no path into the source tree.
const ASIO_SOURCE: &str = include_str!("../../peers/peer_asio.cpp");
const UWS_SOURCE: &str = include_str!("../../peers/peer_uws.cpp");

/// The package of Python's index that ships uWebSockets as a shared library with a C interface.
const UWS_PACKAGE: &str = "socketify==0.0.31";
/// That library inside the package. Its others are for other platforms.
const UWS_LIBRARY: &str = "socketify/libsocketify_linux_amd64.so";

/// Builds the Boost.Asio peer in `scratch`.
///
/// # Errors
/// In words, what is missing.
pub(super) fn asio(scratch: &Path) -> Result<PathBuf, String> {
    if !Path::new("/usr/include/boost/asio.hpp").is_file() {
        return Err("not installed: apt-get install libboost-dev".to_owned());
    }
    compile(scratch, "peer_asio", ASIO_SOURCE, &["-pthread"])
}

/// Builds the uWebSockets peer in `scratch`, where the library goes too the first time.
///
/// # Errors
/// In words, what is missing.
pub(super) fn uws(scratch: &Path) -> Result<PathBuf, String> {
    if !(cfg!(target_os = "linux") && cfg!(target_arch = "x86_64")) {
        return Err(format!("not available: {UWS_PACKAGE} has it for Linux on x86-64 alone"));
    }
    let has_uv = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"]
        .iter()
        .any(|directory| Path::new(directory).join("libuv.so.1").exists());
    if !has_uv {
        return Err("not installed: apt-get install libuv1".to_owned());
    }
    // A directory for each version, so that another one is fetched when the version changes.
    let package = scratch.join(UWS_PACKAGE.replace("==", "-"));
    let library = package.join(UWS_LIBRARY);
    if !library.is_file() {
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"])
            .args([package.as_os_str(), UWS_PACKAGE.as_ref()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("not installed: apt-get install python3-pip ({error})"))?;
        if !library.is_file() {
            let text = String::from_utf8_lossy(&output.stderr);
            let reason = text.lines().last().unwrap_or("the package does not hold the library");
            return Err(format!(
                "not installed: python3 -m pip install --no-deps --target {} {UWS_PACKAGE} ({reason})",
                package.display()
            ));
        }
    }
    let directory = library.parent().unwrap_or(&package).display();
    let library = library.display();
    compile(scratch, "peer_uws", UWS_SOURCE, &[&library.to_string(), &format!("-Wl,-rpath,{directory}")])
}

/// Builds a program in `scratch` unless it is there from the same source.
fn compile(scratch: &Path, name: &str, text: &str, args: &[&str]) -> Result<PathBuf, String> {
    let source = scratch.join(format!("{name}.cpp"));
    let program = scratch.join(name);
    if program.is_file() && fs::read_to_string(&source).is_ok_and(|before| before == text) {
        return Ok(program);
    }
    let failed = |error: io::Error| format!("not built: {error}");
    // An old program beside the new source would pass for its build.
    let _ = fs::remove_file(&program);
    fs::write(&source, text).map_err(failed)?;
    let output = Command::new("g++")
        .args(["-std=c++17", "-O2", "-o"])
        .args([&program, &source])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("not installed: apt-get install g++ ({error})"))?;
    if output.status.success() {
        Ok(program)
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!("not built: {}", text.lines().next().unwrap_or("g++ failed")))
    }
}
