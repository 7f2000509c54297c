//! A process that is killed at one system call of its own choosing of which there are many: the
//! n-th, of all its threads together, that changes the disk.
//!
//! `strace --inject=...:when=n` counts for each thread alone, so that the n-th call of all but the
//! busiest thread is never met; hence a tracer of our own.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use libc::{c_int, c_long, c_void, pid_t};

/// Before or after the kernel has done what the call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// Counted from 1.
    pub number: u32,
    pub moment: Moment,
}

/// What a process did.
#[derive(Debug, Default)]
pub struct Traced {
    /// Calls that changed the disk, up to the kill.
    pub calls: u32,
    /// The call that it was killed at.
    pub killed_at: Option<&'static str>,
}

/// A process that runs under the tracer until it ends.
pub struct Tracer {
    process: pid_t,
    thread: Option<JoinHandle<Traced>>,
}

impl Tracer {
    /// Starts the command. Calls that change what lies below `directory` are counted.
    pub fn start(mut command: Command, directory: &Path, kill: Kill) -> Self {
        let directory = directory.canonicalize().unwrap();
        let (sender, started) = mpsc::channel();
        // The kernel lets only the thread that started a process trace it.
        let thread = std::thread::spawn(move || {
            // SAFETY: between fork and exec only ptrace is called, which is safe there.
            unsafe { command.pre_exec(|| request(libc::PTRACE_TRACEME, 0, 0, 0).map(drop)) };
            let process = command.spawn().unwrap().id() as pid_t;
            sender.send(process).unwrap();
            trace(process, directory, kill)
        });
        Tracer {
            process: started.recv().unwrap(),
            thread: Some(thread),
        }
    }

    #[allow(dead_code, reason = "not each test program asks")]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks the process to stop, and waits for it: it may still be killed on the way.
    #[allow(dead_code, reason = "not each test program asks")]
    pub fn stop(self) -> Traced {
        signal(self.process, libc::SIGTERM);
        self.wait()
    }

    /// Waits until the process ends.
    pub fn wait(mut self) -> Traced {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            signal(self.process, libc::SIGKILL);
            let _ = thread.join();
        }
    }
}

fn signal(process: pid_t, signal: c_int) {
    // SAFETY: touches no memory. The tracer alone reaps the process, and then ends.
    unsafe { libc::kill(process, signal) };
}

fn request(request: u32, thread: pid_t, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: the callers give addresses of memory that is as large as the request needs.
    match unsafe { libc::ptrace(request, thread, address as *mut c_void, data as *mut c_void) } {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

/// Lets a stopped thread go on to its next stop. One that was killed meanwhile is none of ours.
fn go_on(thread: pid_t, signal: c_int) {
    let _ = request(libc::PTRACE_SYSCALL, thread, 0, signal as usize);
}

fn trace(process: pid_t, directory: PathBuf, kill: Kill) -> Traced {
    let mut traced = Traced::default();
    let mut kill_when_done = None;
    let mut known = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: the status is ours. Only children of this thread are waited for: the test
        // program has others.
        let thread = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(thread > 0, "waitpid: {}", io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            if thread == process {
                return traced;
            }
            continue;
        }
        if !known.contains(&thread) {
            known.push(thread);
            if thread == process {
                let options = libc::PTRACE_O_TRACESYSGOOD
                    | libc::PTRACE_O_TRACECLONE
                    | libc::PTRACE_O_EXITKILL;
                request(libc::PTRACE_SETOPTIONS, process, 0, options as usize).unwrap();
            }
            // Its first stop is the tracer's doing and no signal of its own.
            go_on(thread, 0);
            continue;
        }
        let stopped_by = libc::WSTOPSIG(status);
        if stopped_by != libc::SIGTRAP | 0x80 {
            let is_event = status >> 16 != 0;
            go_on(thread, if is_event { 0 } else { stopped_by });
            continue;
        }
        match call(thread, &directory) {
            Stop::Entry(Some(name)) => {
                traced.calls += 1;
                if traced.calls == kill.number {
                    match kill.moment {
                        Moment::Before => {
                            traced.killed_at = Some(name);
                            signal(process, libc::SIGKILL);
                        }
                        Moment::After => kill_when_done = Some((thread, name)),
                    }
                }
            }
            Stop::Entry(None) => {}
            Stop::Exit => {
                if let Some((_, name)) = kill_when_done.take_if(|(which, _)| *which == thread) {
                    traced.killed_at = Some(name);
                    signal(process, libc::SIGKILL);
                }
            }
        }
        go_on(thread, 0);
    }
}

enum Stop {
    /// Before a call; its name if it is one that counts.
    Entry(Option<&'static str>),
    Exit,
}

fn call(thread: pid_t, directory: &Path) -> Stop {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    if request(
        libc::PTRACE_GET_SYSCALL_INFO,
        thread,
        size,
        info.as_mut_ptr() as usize,
    )
    .is_err()
    {
        // Killed by somebody else.
        return Stop::Exit;
    }
    // SAFETY: the structure is valid when it is all zeros, and the kernel wrote into it.
    let info = unsafe { info.assume_init() };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Stop::Exit;
    }
    // SAFETY: `op` says which of the union's members the kernel wrote.
    let entry = unsafe { info.u.entry };
    let args = entry.args;
    let lies_here = |file: u64| {
        std::fs::read_link(format!("/proc/{thread}/fd/{file}"))
            .is_ok_and(|path| path.starts_with(directory))
    };
    let makes = |flags: u64| flags as c_int & (libc::O_CREAT | libc::O_TRUNC) != 0;
    let name = match entry.nr as c_long {
        libc::SYS_write if lies_here(args[0]) => "write",
        libc::SYS_writev if lies_here(args[0]) => "writev",
        libc::SYS_pwrite64 if lies_here(args[0]) => "pwrite64",
        libc::SYS_pwritev if lies_here(args[0]) => "pwritev",
        libc::SYS_copy_file_range if lies_here(args[2]) => "copy_file_range",
        libc::SYS_fdatasync if lies_here(args[0]) => "fdatasync",
        libc::SYS_fsync if lies_here(args[0]) => "fsync",
        libc::SYS_sync_file_range if lies_here(args[0]) => "sync_file_range",
        libc::SYS_ftruncate if lies_here(args[0]) => "ftruncate",
        libc::SYS_fallocate if lies_here(args[0]) => "fallocate",
        libc::SYS_openat if makes(args[2]) => "openat",
        libc::SYS_renameat | libc::SYS_renameat2 => "rename",
        libc::SYS_unlinkat => "unlink",
        libc::SYS_mkdirat => "mkdir",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open if makes(args[1]) => "open",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename => "rename",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink => "unlink",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => "mkdir",
        _ => return Stop::Entry(None),
    };
    Stop::Entry(Some(name))
}
