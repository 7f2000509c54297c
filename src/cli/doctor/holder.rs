//! Who listens on a port, by what Linux shows in /proc (proc(5)). Elsewhere, and of other users'
//! processes, that is not known.

use std::fmt;
use std::fs;

/// The state of a socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";

/// A process that listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its id.
    pub process: u32,
    /// Its name, as far as the system keeps it.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.process)
    }
}

/// Who listens on that port of TCP, at whatever address.
pub fn of(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let sockets: Vec<String> = tables
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            let link = fs::read_link(file.path()).ok();
            link.is_some_and(|link| {
                sockets
                    .iter()
                    .any(|socket| link.as_os_str() == socket.as_str())
            })
        });
        if holds {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let name = name.trim().to_owned();
            return Some(Holder { process, name });
        }
    }
    None
}

/// The inodes of the sockets of a table that listen on a port.
fn listening(table: &str, port: u16) -> Vec<u64> {
    let lines = table.lines().skip(1);
    let found = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let listens = state == LISTENS && u16::from_str_radix(local_port, 16) == Ok(port);
        listens.then_some(inode)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(of(port).unwrap().process, std::process::id());
        drop(listener);
        assert_eq!(of(port), None);
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 4711 1 0\n\
                     1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000  0 4712 1 0\n";
        assert_eq!(listening(table, 5000), [4711]);
        assert_eq!(listening(table, 5001), [0; 0]);
    }
}
