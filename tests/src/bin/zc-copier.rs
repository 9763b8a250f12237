//! Copies by the standard library's own means, for tests that look at which calls it makes of them.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener},
    process::ExitCode,
};

const USAGE: &str = "usage: zc-copier io-copy FROM TO | fs-copy FROM TO | send FILE | receive FILE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zc-copier: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let copied = match *words {
        ["io-copy", from, to] => io::copy(&mut File::open(from)?, &mut File::create(to)?)?,
        ["fs-copy", from, to] => fs::copy(from, to)?,
        ["send", file] => {
            let mut peer = listen()?;
            let copied = io::copy(&mut File::open(file)?, &mut peer)?;
            peer.shutdown(Shutdown::Write)?;
            copied
        }
        ["receive", file] => io::copy(&mut listen()?, &mut File::create(file)?)?,
        _ => return Err(USAGE.into()),
    };
    writeln!(io::stdout(), "copied {copied}")?;
    Ok(())
}

/// Says on which loopback port, and waits for the one that connects.
fn listen() -> io::Result<std::net::TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    writeln!(io::stdout(), "port {}.", listener.local_addr()?.port())?;
    Ok(listener.accept()?.0)
}
