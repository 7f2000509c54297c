//! A real ext4 on a loop device, which can be shut down without a flush or be too small.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `_IOR('X', 125, __u32)`, and the flag that throws the journal's pages away.
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
const EXT4_GOING_FLAGS_NOLOGFLUSH: u32 = 2;

/// A file system in a file. It is unmounted and removed when it is dropped.
pub struct Ext4 {
    directory: tempfile::TempDir,
    mounted: bool,
}

impl Ext4 {
    /// Makes and mounts one; `None` where that is not possible, which is said.
    pub fn new(bytes: u64) -> Option<Self> {
        // SAFETY: the call has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            crate::support::left_out("crash on ext4", "not root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        std::fs::create_dir(directory.path().join("mounted")).unwrap();
        let mut system = Ext4 {
            directory,
            mounted: false,
        };
        let made = run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .arg(image))
        .and_then(|()| system.try_mount());
        match made {
            Ok(()) => Some(system),
            Err(why) => {
                crate::support::left_out("crash on ext4", &why);
                None
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn try_mount(&mut self) -> Result<(), String> {
        let image = self.directory.path().join("image");
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(self.path()))?;
        self.mounted = true;
        Ok(())
    }

    /// Everything that was not flushed is lost from here on, and each access fails.
    pub fn shut_down(&self) {
        let root = File::open(self.path()).unwrap();
        let flags = EXT4_GOING_FLAGS_NOLOGFLUSH;
        // SAFETY: the descriptor is open, and the kernel reads a u32 through the pointer.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN as _, &flags) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Mounts it again, as after a power cut: the journal is replayed. Nobody may use it.
    pub fn mount_again(&mut self) {
        run(Command::new("umount").arg(self.path())).unwrap();
        self.mounted = false;
        self.try_mount().unwrap();
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let ran = command
        .output()
        .map_err(|error| format!("{}: {error}", Path::new(command.get_program()).display()))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}
