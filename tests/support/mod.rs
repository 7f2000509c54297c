//! A real server for tests: the program itself, a directory of its own, a free port.
// Each test program uses a part of this.
#![allow(dead_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything here may take before the test is failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test, with none of the variables of whoever runs the tests.
pub fn drift() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drift"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("DRIFT_") || name == "RUST_LOG" {
            command.env_remove(&*name);
        }
    }
    command
}

/// What a command printed that has to succeed.
#[track_caller]
pub fn said(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says that something is not tested here, to whoever reads the output and to `tests/run`.
/// Where everything has to be tested, it is a failure.
pub fn left_out(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "left out: {what}: {why}");
    println!("left out: {what}: {why}");
    if let Some(logs) = std::env::var_os("DRIFT_TEST_LOGS") {
        let list = Path::new(&logs).join("left-out");
        let file = File::options().create(true).append(true).open(list);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{what}: {why}");
        }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
    /// Kept for its drop, which removes the directory.
    _temporary: Option<TempDir>,
}

/// A server about to start.
pub struct ServerBuilder {
    variables: Vec<(String, String)>,
    directory: Option<PathBuf>,
}

impl Server {
    /// A server with the default configuration.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// A server with variables set.
    pub fn with(variables: &[(&str, &str)]) -> Server {
        Server::builder().variables(variables).start()
    }

    /// To say more before the start.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            variables: Vec::new(),
            directory: None,
        }
    }

    /// The directory that it runs in; its data lie in `drift-data` there.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Kills it with SIGKILL: nothing of the process runs any more when this returns.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.directory)).unwrap()
    }

    /// Waits until the log holds `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            let log = self.log();
            log.contains(text).then_some(log)
        })
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.process_id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes on a connection of their own and reads until its end.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).unwrap();
        read_to_end(&mut stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

impl ServerBuilder {
    /// Sets variables.
    pub fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        for (name, value) in variables {
            self.variables.push((name.to_string(), value.to_string()));
        }
        self
    }

    /// Uses a directory that outlives the server.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// The command that starts it in `directory`, with its log there.
    pub fn command(&self, directory: &Path) -> Command {
        let mut command = drift();
        command
            .current_dir(directory)
            .env("DRIFT_SERVER_API_PORT", "0")
            .env("DRIFT_SERVER_UI_ENABLED", "false")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(File::create(log_of(directory)).unwrap());
        command
    }

    /// Starts it and waits until it can serve.
    pub fn start(self) -> Server {
        let server = self.start_unready();
        wait_for("readiness", || {
            server
                .raw("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .starts_with("HTTP/1.1 200")
                .then_some(())
        });
        server
    }

    /// Starts it and waits until it listens, ready or not.
    pub fn start_unready(self) -> Server {
        let temporary = self
            .directory
            .is_none()
            .then(|| tempfile::tempdir().unwrap());
        let directory = match (&temporary, &self.directory) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, directory) => directory.clone().unwrap(),
        };
        let log = log_of(&directory);
        let child = self.command(&directory).spawn().unwrap();
        // From here on it ends with the test, also if it never listens.
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory,
            _temporary: temporary,
        };
        server.address = wait_for("an address in the log", || {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{text}");
            }
            address_in(&text)
        });
        server
    }
}

/// Where a server that runs in `directory` writes its log.
pub fn log_of(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

/// The address that a server says it listens on, whichever form its log has.
fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("listening"))?;
    let (_, rest) = line.split_once("address")?;
    let rest = rest.trim_start_matches(['"', ':', '=']);
    let end = rest.find([' ', '"']).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of a process.
pub fn wait_for_exit(child: &mut Child) -> ExitStatus {
    wait_for("the end of the process", || child.try_wait().unwrap())
}

/// All that comes until the end of the connection; a reset is an end as well.
pub fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("reading failed: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
