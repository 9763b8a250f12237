//! Child processes that cannot outlive their test.

use std::{
    fs::File,
    io::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
};

use crate::machine;

/// A command about to run, with its output kept in files so that it never blocks on an unread pipe.
#[derive(Debug)]
#[must_use]
pub struct Job {
    command: Command,
    piped_input: bool,
}

/// A running command and everything it started: killed as a process group when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    ended: Option<ExitStatus>,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// Everything it wrote to its standard error.
    pub stderr: String,
}

impl Done {
    /// What it wrote to its standard output, which was text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The exit code; a signal is an error here, as `zc` never dies of one that it can handle.
    pub fn code(&self) -> i32 {
        let Self { status, stderr, .. } = self;
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}: {stderr}", status.signal()))
    }
}

impl Job {
    /// Program and arguments.
    pub fn new<S: AsRef<str>>(words: &[S]) -> Self {
        let (program, arguments) = words.split_first().expect("a program to run");
        let mut command = Command::new(program.as_ref());
        command.args(arguments.iter().map(AsRef::as_ref)).stdin(Stdio::null()).process_group(0);
        Self { command, piped_input: false }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: &std::path::Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Keeps a pipe to its standard input.
    pub fn with_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self.piped_input = true;
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let output = || tempfile::tempfile_in(machine::target_tmp()).expect("a file for output");
        let (stdout, stderr) = (output(), output());
        let copy = |file: &File| file.try_clone().expect("a second descriptor");
        self.command.stdout(copy(&stdout)).stderr(copy(&stderr));
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.command.get_program().display()));
        Running { child, stdout, stderr, ended: None }
    }

    /// Runs it to its end.
    pub fn finish(self) -> Done {
        self.start().finish()
    }

    /// Runs it to its end with this standard input.
    pub fn finish_with(self, input: &[u8]) -> Done {
        let mut running = self.with_input().start();
        running.input(input);
        running.finish()
    }
}

impl Running {
    /// Process id; also the id of its process group.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// Writes to its standard input.
    pub fn input(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("started with_input");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("writing to the child");
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0, "kill: {}", std::io::Error::last_os_error());
    }

    /// Sends a signal to its whole process group, as a terminal does.
    pub fn signal_group(&self, signal: i32) {
        // SAFETY: the group was made by `start`.
        let result = unsafe { libc::killpg(self.pid(), signal) };
        assert_eq!(result, 0, "killpg: {}", std::io::Error::last_os_error());
    }

    /// What it has written to its standard output so far.
    pub fn stdout_so_far(&mut self) -> Vec<u8> {
        contents(&mut self.stdout)
    }

    /// Waits until its standard output holds `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        self.wait_for_text(text, |this| contents(&mut this.stdout));
    }

    /// Waits until its standard error holds `text`.
    pub fn wait_for_error(&mut self, text: &str) {
        self.wait_for_text(text, |this| contents(&mut this.stderr));
    }

    fn wait_for_text(&mut self, text: &str, so_far: fn(&mut Self) -> Vec<u8>) {
        machine::wait_for(&format!("{text:?} from the child"), || {
            if String::from_utf8_lossy(&so_far(self)).contains(text) {
                return Some(());
            }
            self.ended = self.child.try_wait().expect("asking for the child");
            let stderr = if self.ended.is_some() { contents(&mut self.stderr) } else { Vec::new() };
            assert!(self.ended.is_none(), "the child ended first: {}", String::from_utf8_lossy(&stderr));
            None
        });
    }

    /// Interrupts it until it ends: bpftrace forgets a signal that comes while it attaches, though it has said that it has begun.
    pub fn interrupt(mut self) -> Done {
        for _ in 0..60 {
            self.signal(libc::SIGINT);
            for _ in 0..1000 {
                self.ended = self.child.try_wait().expect("waiting for the child");
                if self.ended.is_some() {
                    return self.finish();
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        self.finish()
    }

    /// Waits for the process, not for what it left behind. A hang is ended after five minutes, as a failure.
    pub fn finish(mut self) -> Done {
        drop(self.child.stdin.take());
        for _ in 0..300_000 {
            self.ended = self.child.try_wait().expect("waiting for the child");
            if self.ended.is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let stderr = String::from_utf8_lossy(&contents(&mut self.stderr)).into_owned();
        let status = self.ended.unwrap_or_else(|| panic!("the command hangs; it said: {stderr}"));
        let stdout = contents(&mut self.stdout);
        Done { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the group was made by `start`; that it may be empty by now is no error.
        unsafe { libc::killpg(self.pid(), libc::SIGKILL) };
        if self.ended.is_none() && self.child.wait().is_err() {
            eprintln!("could not wait for process {}", self.pid());
        }
    }
}

/// By position: the descriptor, and with it the place where the child writes next, is shared with it.
fn contents(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = file.metadata().expect("an output file").len();
    bytes.resize(usize::try_from(size).expect("a small output"), 0);
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).expect("reading an output file");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_code_of_a_command_are_kept() {
        let done = Job::new(&["sh", "-c", "echo out; echo err >&2; exit 7"]).finish();
        assert_eq!((done.code(), done.stdout.as_slice(), done.stderr.as_str()), (7, &b"out\n"[..], "err\n"));
    }

    #[test]
    fn input_reaches_the_command() {
        assert_eq!(Job::new(&["cat"]).finish_with(b"seen").stdout, b"seen");
    }

    #[test]
    fn a_dropped_job_takes_its_children_with_it() {
        let mut running = Job::new(&["sh", "-c", "sleep 1000 & echo $!; wait"]).start();
        running.wait_for_output("\n");
        let pid: i32 =
            String::from_utf8_lossy(&running.stdout_so_far()).trim().parse().expect("a process id");
        drop(running);
        machine::wait_for("the end of the grandchild", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}
