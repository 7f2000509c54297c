//! What the system allows a process: open files, and memory.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use rustix::process::{Resource, getrlimit};

use super::finding::Findings;
use crate::config::Config;
use crate::http::transport::{connections_within, files_needed};

/// What pushes, logins and looking into layers take together; less than this gets tight.
const MEMORY_LITTLE: u64 = 256 << 20;

/// Looks at both: those of the server that runs, or of this process, whose limits a start from here would have.
pub fn check(config: &Config, server: Option<u32>, findings: &mut Findings) {
    files(config, server, findings);
    memory(server, findings);
}

fn files(config: &Config, server: Option<u32>, findings: &mut Findings) {
    const CHECK: &str = "open files";
    let ours = getrlimit(Resource::Nofile).maximum;
    let of_server = server.and_then(|process| {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
        open_files(&limits)
    });
    let (hard, whose) = match of_server {
        Some(hard) => (hard, "of the server that runs"),
        None => (ours.unwrap_or(u64::MAX), "of a server that is started here"),
    };
    let wanted = config.server.connections_max;
    let possible = connections_within(hard, wanted);
    let hard = match hard {
        u64::MAX => "no limit".to_owned(),
        hard => format!("the hard limit {hard}"),
    };
    match possible < wanted {
        true => findings.warn(
            CHECK,
            format!(
                "{hard} {whose} allows {possible} connections, and [server] connections_max is {wanted}"
            ),
            format!(
                "raise it to {} (systemd: LimitNOFILE=, docker: --ulimit nofile=, a shell: ulimit -Hn)",
                files_needed(wanted)
            ),
        ),
        false => findings.ok(
            CHECK,
            format!("{hard} {whose} allows the {wanted} connections of [server] connections_max"),
        ),
    }
}

/// The hard limit of open files in /proc/PID/limits.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        hard => hard.parse().ok(),
    }
}

fn memory(server: Option<u32>, findings: &mut Findings) {
    const CHECK: &str = "memory";
    let whose = server.map_or_else(|| "self".to_owned(), |process| process.to_string());
    let groups = fs::read_to_string(format!("/proc/{whose}/cgroup")).unwrap_or_default();
    let files = groups.lines().flat_map(limit_files);
    let limit = files
        .filter_map(|file| limit_in(&fs::read_to_string(file).ok()?))
        .min();
    match limit {
        None => findings.ok(CHECK, "no control group limits it"),
        Some(limit) if limit < MEMORY_LITTLE => findings.warn(
            CHECK,
            format!(
                "the control group allows {}: a login takes 19 MiB for a moment, a push some tens, and looking into \
                 layers up to 64 MiB",
                HumanBytes(limit)
            ),
            format!("allow {} or more (systemd: MemoryMax=, docker: --memory)", HumanBytes(MEMORY_LITTLE)),
        ),
        Some(limit) => findings.ok(CHECK, format!("the control group allows {}", HumanBytes(limit))),
    }
}

/// The files with the limits of memory of a line of /proc/PID/cgroup, those of the groups above as well
/// (cgroups(7)).
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|it| it == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let groups = Path::new(group).ancestors();
    groups
        .map(|group| {
            let below = group.strip_prefix("/").unwrap_or(group);
            Path::new(root).join(below).join(name)
        })
        .collect()
}

/// The limit that such a file says; none is `max`, or of the first version a number near the largest.
fn limit_in(text: &str) -> Option<u64> {
    let limit = text.trim().parse().ok()?;
    (limit < 1 << 60).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_system_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(524_288));
        assert_eq!(
            open_files(&limits.replace("524288", "unlimited")),
            Some(u64::MAX)
        );
        assert_eq!(limit_in("max\n"), None);
        assert_eq!(limit_in("9223372036854771712\n"), None);
        assert_eq!(limit_in("536870912\n"), Some(512 << 20));
        let files = limit_files("0::/system.slice/drift.service");
        let files: Vec<_> = files.iter().map(|it| it.to_str().unwrap()).collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/system.slice/drift.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(limit_files("4:cpu,memory:/a").len(), 2);
        assert_eq!(limit_files("4:cpu:/a").len(), 0);
    }
}
