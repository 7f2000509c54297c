//! The configuration: what it allows, and is hardly meant; and the files that it names.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::finding::Findings;
use crate::config::{Config, FILE_DEFAULT, Share};

const CHECK: &str = "configuration";

/// A collector that takes what was pushed so shortly before meets pushes that are still under way.
const GRACE_SHORT: Duration = Duration::from_secs(3600);

/// Kubernetes kills so long after it asked for a stop (`terminationGracePeriodSeconds`).
const KUBERNETES_KILLS: Duration = Duration::from_secs(30);

/// Looks at it.
pub fn check(config: &Config, file: Option<&Path>, findings: &mut Findings) {
    source(file, findings);
    exposure(config, findings);
    names(config, findings);
    networks(config, findings);
    storage(config, findings);
    backups(config, findings);
    times(config, findings);
    files(config, findings);
}

/// Where it was read from, and who else can write there.
fn source(named: Option<&Path>, findings: &mut Findings) {
    let file = named.or(Some(Path::new(FILE_DEFAULT)).filter(|path| path.exists()));
    let Some(file) = file else {
        findings.ok(
            CHECK,
            "it loads: no file, so defaults and variables DRIFT_...",
        );
        return;
    };
    let shown = file.display();
    let mode = file.metadata().map_or(0, |it| it.permissions().mode());
    match mode & 0o022 {
        0 => findings.ok(CHECK, format!("{shown} loads, without an unknown key")),
        _ => findings.warn(
            CHECK,
            format!(
                "{shown} can be written by others (mode {:04o}): they can turn the login off",
                mode & 0o7777
            ),
            format!("chmod go-w {shown}"),
        ),
    }
}

/// Who can reach it, and what they may or see there.
fn exposure(config: &Config, findings: &mut Findings) {
    let server = &config.server;
    let ip = server.ip().map(|ip| ip.to_canonical());
    let (host, port) = (&server.host, server.api_port);
    let is_loopback = ip.is_some_and(|ip| ip.is_loopback());
    let is_tls = config.tls.files().is_some();
    let has_proxy = server
        .external_url
        .as_ref()
        .is_some_and(|url| url.starts_with("https://"));
    let is_login = config.auth.is_enabled();
    if !is_login && !is_loopback {
        findings.warn(
            CHECK,
            format!("no login is asked for: whoever reaches {host}:{port} may push, pull and delete"),
            "set [auth] enabled = true (DRIFT_AUTH_ENABLED), unless this network is everybody's that may",
        );
    }
    let clear = "every login that comes there is read by whoever is on the way";
    match (is_login && !is_tls && !is_loopback, has_proxy) {
        (true, false) => findings.warn(
            CHECK,
            format!("logins are asked for at {host} without TLS: {clear}, at the page as well"),
            "set [tls] cert and key, or [server] host = \"127.0.0.1\" behind a proxy that speaks TLS",
        ),
        (true, true) => findings.warn(
            CHECK,
            format!("{host}:{port} is open without TLS beside the proxy of [server] external_url: {clear}"),
            "let the proxy alone reach the port: [server] host = \"127.0.0.1\", or a firewall; \
             or set [tls] cert and key",
        ),
        (false, _) => {}
    }
    if server.read_only {
        findings.note(
            CHECK,
            "[server] read_only: every push and delete is answered 405",
        );
    }
    if !config.storage.delete {
        findings.note(
            CHECK,
            "[storage] delete = false: every delete is answered 405",
        );
    }
}

/// By what name clients come, and whose word is taken for it.
fn names(config: &Config, findings: &mut Findings) {
    let Some(url) = &config.server.external_url else {
        return;
    };
    let (is_tls, is_login) = (config.tls.files().is_some(), config.auth.is_enabled());
    if url.starts_with("http://") && is_tls {
        findings.fail(
            CHECK,
            format!("[server] external_url = {url:?} is without TLS, and this server speaks TLS: logins are sent where nobody answers"),
            format!("set it to https://{}", url.trim_start_matches("http://")),
        );
    } else if url.starts_with("http://") && is_login {
        findings.warn(
            CHECK,
            format!(
                "[server] external_url = {url:?}: clients send their passwords there without TLS"
            ),
            "have TLS spoken at that name, and say https",
        );
    }
    if url.starts_with("https://") && !is_tls && config.server.trusted_proxies.is_empty() {
        let limits = [
            config.auth.bad_logins_by_address,
            config.server.connections_by_address,
            config.server.requests_by_address,
        ];
        let most = limits.iter().find(|limit| **limit > 0);
        if let (true, Some(_)) = (is_login, most) {
            findings.warn(
                CHECK,
                format!(
                    "TLS is a proxy's, by [server] external_url = {url:?}, and [server] trusted_proxies is empty: \
                     all clients have the proxy's address, and limits by address (failed logins: {}) hit all at once",
                    config.auth.bad_logins_by_address
                ),
                "set [server] trusted_proxies to the proxy's address, such as [\"127.0.0.1\"], and have it send X-Forwarded-For",
            );
        }
    }
}

/// Lists that are wider than anybody means.
fn networks(config: &Config, findings: &mut Findings) {
    let server = &config.server;
    let lists = [
        (
            "trusted_proxies",
            &server.trusted_proxies,
            "say by a header which address it has, and so go around every limit",
        ),
        (
            "metrics_from",
            &server.metrics_from,
            "read /metrics without a login",
        ),
    ];
    for (key, list, what) in lists {
        if let Some(wide) = list.iter().find(|net| net.prefix_len() == 0) {
            findings.warn(
                CHECK,
                format!("[server] {key} has {wide}, which is everybody: every client may {what}"),
                "name the addresses that are meant",
            );
        }
    }
}

fn storage(config: &Config, findings: &mut Findings) {
    let storage = &config.storage;
    if matches!(storage.min_free, Share::Bytes(0) | Share::Percent(0)) {
        findings.warn(
            CHECK,
            "[storage] min_free = 0: pushes fill the disk to its last byte, and then not even a delete can be written down",
            "leave it at \"1%\", or set a size such as \"1GiB\"",
        );
    }
    if config.gc.grace < GRACE_SHORT {
        findings.warn(
            CHECK,
            format!(
                "[gc] grace = {}: layers of a push that takes longer are collected before its manifest comes",
                humantime::format_duration(config.gc.grace)
            ),
            "set it to longer than the longest push, such as \"24h\"",
        );
    }
    if storage.scrub_rate == 0 {
        findings.note(
            CHECK,
            "[storage] scrub_rate = 0: bytes that rot are found when somebody pulls them",
        );
    }
    if config.gc.compact_rate == 0 {
        findings.note(
            CHECK,
            "[gc] compact_rate = 0: packs are compacted by `drift compact` alone",
        );
    }
}

fn backups(config: &Config, findings: &mut Findings) {
    let backup = &config.backup;
    if backup.every.is_zero() {
        findings.note(
            CHECK,
            "[backup] every = \"0s\": no backup is taken on a schedule",
        );
        return;
    }
    let device = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        path.metadata().ok().map(|it| it.dev())
    };
    let (to, data) = (&backup.to, &config.storage.path);
    if device(to).is_some_and(|disk| device(data) == Some(disk)) {
        findings.warn(
            CHECK,
            format!(
                "backups go to {}, on the disk that the store is on: they are lost with it",
                to.display()
            ),
            "set [backup] to to a directory on another disk",
        );
    }
}

fn times(config: &Config, findings: &mut Findings) {
    let stop = config.server.shutdown_timeout;
    if stop >= KUBERNETES_KILLS {
        findings.note(
            CHECK,
            format!(
                "[server] shutdown_timeout = {}: whoever stops the server has to wait as long before it kills \
                 (Kubernetes: terminationGracePeriodSeconds, 30 by itself; systemd: TimeoutStopSec)",
                humantime::format_duration(stop)
            ),
        );
    }
}

/// Those that are read at a start, or when the first client asks. Those of TLS are looked at by themselves.
fn files(config: &Config, findings: &mut Findings) {
    let issuers = config.auth.issuers.iter();
    let named = issuers.filter_map(|issuer| Some(("ca of [[auth.issuers]]", issuer.ca.as_ref()?)));
    let named = named.chain(
        config
            .auth
            .htpasswd
            .as_ref()
            .map(|path| ("[auth] htpasswd", path)),
    );
    for (key, path) in named {
        if let Err(error) = File::open(path) {
            findings.fail(
                CHECK,
                format!("{key}: {} cannot be read: {error}", path.display()),
                "name a file that the server's user may read",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn found(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        let mut findings = Findings::default();
        check(&config, Some(Path::new("/dev/null")), &mut findings);
        let all = findings.all().iter();
        // Of /dev/null everybody may write.
        let bad = all.filter(|it| it.level >= Level::Warning && !it.found.starts_with("/dev/null"));
        bad.map(|it| it.found.clone()).collect()
    }

    #[test]
    fn the_defaults_are_taken_for_meant() {
        assert_eq!(found(|_| {}), [""; 0]);
    }

    #[test]
    fn what_is_hardly_meant_is_named() {
        let all = "0.0.0.0/0".parse().unwrap();
        type Change = Box<dyn FnOnce(&mut Config)>;
        let open = |config: &mut Config| config.server.host = "0.0.0.0".to_owned();
        let cases: [(Change, &str); 8] = [
            (
                Box::new(move |config| {
                    open(config);
                    config.auth.enabled = Some(false);
                }),
                "no login is asked for",
            ),
            (
                Box::new(move |config| {
                    open(config);
                    config.auth.enabled = Some(true);
                }),
                "without TLS",
            ),
            (
                Box::new(|config| {
                    config.auth.enabled = Some(true);
                    config.server.external_url = Some("https://r.example.com".to_owned());
                }),
                "trusted_proxies is empty",
            ),
            (
                Box::new(|config| {
                    config.server.external_url = Some("http://r.example.com".to_owned());
                    config.tls.cert = Some("cert".into());
                    config.tls.key = Some("key".into());
                }),
                "is without TLS",
            ),
            (
                Box::new(move |config| config.server.trusted_proxies = vec![all]),
                "go around every limit",
            ),
            (
                Box::new(move |config| config.server.metrics_from = vec![all]),
                "/metrics",
            ),
            (
                Box::new(|config| config.storage.min_free = Share::Bytes(0)),
                "min_free",
            ),
            (
                Box::new(|config| config.gc.grace = Duration::from_secs(60)),
                "[gc] grace",
            ),
        ];
        for (change, words) in cases {
            let found = found(change);
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
        let found = found(|config| config.auth.htpasswd = Some("/no/such/file".into()));
        assert!(found[0].contains("/no/such/file"), "{found:?}");
    }
}
