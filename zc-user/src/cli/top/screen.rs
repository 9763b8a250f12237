//! A terminal whose screen is drawn again and again, and which is left as it was found: also after a panic, before a stop, and
//! when a signal ends zc.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{Mutex, Once, PoisonError},
};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;

/// The other screen of the terminal, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Of a terminal that does not say.
const SIZE: (usize, usize) = (80, 24);

/// How the terminal was found, as long as it is not as it was found.
static FOUND: Mutex<Option<Found>> = Mutex::new(None);

struct Found {
    /// Of stdin, when that is a terminal.
    settings: Option<Termios>,
}

/// A terminal on which one screen is drawn.
pub(super) struct Screen {
    keys: Option<AsyncFd<OwnedFd>>,
}

impl Screen {
    /// Takes the terminal over. Keys are read when stdin is one, too.
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                leave();
                before(panic);
            }));
        });
        take_over()?;
        let stdin = io::stdin();
        let keys = if stdin.is_terminal() {
            // SAFETY: an owned descriptor stays the same until it is dropped.
            stdin.as_fd().try_clone_to_owned().ok().and_then(|fd| unsafe { AsyncFd::register(fd) }.ok())
        } else {
            None
        };
        Ok(Self { keys })
    }

    /// Columns and lines.
    pub(super) fn size() -> (usize, usize) {
        // SAFETY: a plain struct of numbers.
        let mut size: libc::winsize = unsafe { std::mem::zeroed() };
        // SAFETY: writes to `size`, which outlives the call.
        let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
        if result != 0 || size.ws_col == 0 || size.ws_row == 0 {
            return SIZE;
        }
        (usize::from(size.ws_col), usize::from(size.ws_row))
    }

    /// Shows these lines and nothing else.
    pub(super) fn draw(text: &str) -> io::Result<()> {
        let (_, height) = Self::size();
        let lines: Vec<_> = text.lines().take(height).collect();
        // The last line has no end, which would scroll the screen. The terminal makes each end a new line at its beginning.
        let mut out = io::stdout().lock();
        write!(out, "\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n"))?;
        out.flush()
    }

    /// A key.
    pub(super) async fn key(&self) -> u8 {
        let Some(keys) = &self.keys else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = keys.readable().await else { return std::future::pending().await };
            let mut key = [0];
            // Does not wait: see `take_over`.
            match nix::unistd::read(keys, &mut key) {
                Ok(1) => return key[0],
                _ => ready.clear_ready(),
            }
        }
    }

    /// Stops zc as Ctrl-Z does any program, and goes on when it is told to.
    pub(super) fn stop() -> io::Result<()> {
        leave();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP)?;
        take_over()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn take_over() -> io::Result<()> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let stdin = io::stdin();
    let mut settings = None;
    if stdin.is_terminal() {
        let before = tcgetattr(&stdin)?;
        let mut ours = before.clone();
        // Keys arrive at once and are not shown; those that make signals still do.
        ours.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        ours.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        ours.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&stdin, SetArg::TCSADRAIN, &ours)?;
        settings = Some(before);
    }
    *found = Some(Found { settings });
    drop(found);
    let mut out = io::stdout().lock();
    out.write_all(ENTER.as_bytes())?;
    out.flush()
}

/// Leaves the terminal as it was found; does nothing when it is.
fn leave() {
    // Whoever holds it is about to do the same.
    let Ok(mut found) = FOUND.try_lock() else { return };
    let Some(Found { settings }) = found.take() else { return };
    let mut out = io::stdout();
    // There is nobody to tell when the terminal is gone.
    let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    if let Some(settings) = settings {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &settings);
    }
}
