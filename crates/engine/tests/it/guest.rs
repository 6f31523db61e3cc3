//! The program inside the test's containers.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::registry::read_all;

/// `guest COMMAND …`.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["http", port] => http(port.parse().unwrap()),
        ["say", text] => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        ["fail", text] => {
            println!("{text}");
            ExitCode::from(3)
        }
        // Ends well once the file is there.
        ["await", path] => {
            println!("waiting for {path}");
            while !std::path::Path::new(path).exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
            ExitCode::SUCCESS
        }
        ["write", path, text] => {
            std::fs::write(path, text).unwrap();
            println!("wrote {path}");
            ExitCode::SUCCESS
        }
        _ => {
            println!("guest: unknown command {words:?}");
            ExitCode::from(64)
        }
    }
}

/// What this program does where a pod expects one of ours.
pub(crate) fn stand_in(program: &str, args: &[OsString]) -> Option<ExitCode> {
    let words: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).collect();
    match (program, words.as_slice()) {
        ("/casemate-pod", ["coordinator"]) => {
            std::fs::write("/var/lib/casemate/started", "yes").unwrap();
            Some(http(9102))
        }
        ("/casemate-pod", ["initializer"]) => Some(initialize()),
        ("/casemate-pod", ["mesh"]) => Some(http(9102)),
        // What comes before the dashes is the launcher's own.
        ("/casemate/bin/launch", words) => {
            let command = words.iter().position(|word| *word == "--").and_then(|end| words.get(end + 1..));
            let Some([program, rest @ ..]) = command else { return Some(ExitCode::from(2)) };
            let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(program).args(rest));
            println!("{program}: {error}");
            Some(ExitCode::FAILURE)
        }
        _ => None,
    }
}

fn initialize() -> ExitCode {
    assert!(!std::fs::read_to_string("/casemate-in/podinfo/initdata").unwrap().is_empty());
    for volume in std::fs::read_dir("/casemate-in/files").unwrap().flatten() {
        copy_files(&volume.path(), &std::path::Path::new("/casemate-files").join(volume.file_name()));
    }
    let evidence = get("127.0.0.1:8006/aa/evidence?encoding=base64&runtime_data=");
    assert!(evidence.contains("not 64 bytes"), "{evidence}");
    std::fs::create_dir_all("/casemate/bin").unwrap();
    // A link, as the workload's image holds this program too: a copy would
    // be charged to the initializer's memory, and this one is large.
    std::os::unix::fs::symlink("/casemate-launch", "/casemate/bin/launch").unwrap();
    ExitCode::SUCCESS
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    for file in std::fs::read_dir(from).unwrap().flatten() {
        let (name, to) = (file.file_name(), to.join(file.file_name()));
        if name.to_string_lossy().starts_with("..") {
            continue;
        }
        if file.path().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_files(&file.path(), &to);
        } else {
            std::fs::copy(file.path(), to).unwrap();
        }
    }
}

/// A server whose paths show what a process sees of its container.
fn http(port: u16) -> ExitCode {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    println!("listening on {port}");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
    ExitCode::SUCCESS
}

fn answer(mut stream: TcpStream) {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let _ = reader.read_line(&mut line);
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (what, rest) = path.trim_start_matches('/').split_once('?').unwrap_or((path.trim_start_matches('/'), ""));
    let body = match what {
        "" => std::fs::read_to_string("/etc/hostname").unwrap_or_default(),
        "env" => std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n"),
        "file" => std::fs::read_to_string(rest).unwrap_or_else(|error| format!("ERROR {error}")),
        "write" => std::fs::write(rest, "written").map_or_else(|error| format!("ERROR {error}"), |()| "ok".into()),
        "status" => std::fs::read_to_string("/proc/self/status").unwrap_or_default(),
        "mounts" => std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        // Fetches HOST:PORT/PATH.
        "get" => get(rest),
        "fill" => {
            let wanted: usize = rest.parse().unwrap_or(0);
            let memory = vec![1_u8; wanted];
            format!("{}", memory.iter().map(|byte| u64::from(*byte)).sum::<u64>())
        }
        // Makes a node for the machine's disk and reads from it.
        "device" => device(),
        "exit" => end(),
        _ => "ERROR unknown path".into(),
    };
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
}

fn device() -> String {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let disk = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    let numbers = disk.lines().skip(2).find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    });
    let Some((major, minor)) = numbers else { return "no disk".into() };
    match mknodat(CWD, "/disk", FileType::BlockDevice, Mode::from_raw_mode(0o600), makedev(major, minor)) {
        Ok(()) => std::fs::File::open("/disk").map_or_else(|error| format!("open: {error}"), |_| "opened".into()),
        Err(error) => format!("mknod: {error}"),
    }
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the main thread listens for ever")]
fn end() -> ! {
    std::process::exit(9)
}

/// `HOST:PORT/PATH` by HTTP, or what went wrong.
pub(crate) fn get(target: &str) -> String {
    let (address, path) = target.split_once('/').unwrap_or((target, ""));
    let attempt = || -> std::io::Result<String> {
        let mut stream = match address.parse() {
            Ok(address) => TcpStream::connect_timeout(&address, Duration::from_secs(2))?,
            Err(_) => TcpStream::connect(address)?,
        };
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        Ok(read_all(stream))
    };
    match attempt() {
        Ok(answer) => answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()),
        Err(error) => format!("ERROR {error}"),
    }
}
