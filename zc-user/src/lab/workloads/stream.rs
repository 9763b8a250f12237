//! A TCP connection to a receiver that is a process of its own.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    process::{Child, Command, Stdio},
};

use super::super::worker::NAME;

/// The sender's end, and the receiver.
pub(super) struct Stream {
    socket: TcpStream,
    receiver: Child,
}

/// Over loopback.
pub(super) fn loopback() -> io::Result<Stream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let receiver = command("receive").stdin(Stdio::from(OwnedFd::from(listener))).spawn()?;
    Stream::new(TcpStream::connect(address)?, receiver)
}

/// A process that receives.
pub(super) fn command(how: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([NAME, how]).stdout(Stdio::piped());
    command
}

impl Stream {
    pub(super) fn new(socket: TcpStream, receiver: Child) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, receiver })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Ends the connection, and holds the receiver to what was sent.
    pub(super) fn finish(self, sent: u64) -> io::Result<()> {
        let Self { socket, mut receiver } = self;
        socket.shutdown(Shutdown::Write)?;
        let mut count = String::new();
        if let Some(mut output) = receiver.stdout.take() {
            output.read_to_string(&mut count)?;
        }
        receiver.wait()?;
        let received = count.split_ascii_whitespace().last().and_then(|count| count.parse::<u64>().ok());
        if received == Some(sent) {
            return Ok(());
        }
        Err(io::Error::other(format!("{sent} bytes were sent, and the receiver counted {received:?}")))
    }
}

/// The receiver over loopback: its standard input is the listener.
pub(in super::super) fn receive() -> io::Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    drain(&listener)
}

/// Takes one connection in, to its end, and says how many bytes came.
pub(super) fn drain(listener: &TcpListener) -> io::Result<()> {
    let (mut connection, _) = listener.accept()?;
    let mut buffer = vec![0; 256 << 10];
    let mut count = 0_u64;
    loop {
        match connection.read(&mut buffer)? {
            0 => break,
            got => count += got as u64,
        }
    }
    writeln!(io::stdout(), "{count}")
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
