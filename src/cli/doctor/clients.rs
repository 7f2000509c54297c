//! What docker, podman and containerd are to be told of a registry: files with their paths, and commands.
//!
//! Docker takes plain HTTP for granted on 127.0.0.0/8 and localhost alone, podman and containerd nowhere.
//! Each has a place of its own for the certificate of an authority that the system does not know.

use std::net::IpAddr;

use serde::Serialize;

/// Where podman and skopeo look for authorities, and docker.
const PODMAN_CERTS: &str = "/etc/containers/certs.d";
const DOCKER_CERTS: &str = "/etc/docker/certs.d";
/// Where containerd looks for what it is told of hosts.
const CONTAINERD_CERTS: &str = "/etc/containerd/certs.d";

/// How the registry proves who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Not at all: it is without TLS.
    Nothing,
    /// By an authority that systems know.
    Known,
    /// By one that has to be told: its certificate in PEM, where that is at hand.
    Private(Option<String>),
}

/// A registry as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// What stands before the first slash of an image's name: a host, with its port unless that is the
    /// scheme's own.
    pub host: String,
    /// How it proves who it is.
    pub proof: Proof,
    /// Whether a login is asked for.
    pub login: bool,
}

/// Whether a host, without a port, is this machine by itself.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

/// Something to paste.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Paste {
    /// For which client.
    pub client: &'static str,
    /// The file; left out, it is for a shell.
    pub path: Option<String>,
    /// What else is to be known of it.
    #[serde(skip)]
    pub why: String,
    /// What stands in the file, or the command.
    pub content: String,
}

impl Target {
    /// Everything that the three are to be told, in the order in which it is done.
    pub fn pastes(&self) -> Vec<Paste> {
        let mut pastes = Vec::new();
        self.docker(&mut pastes);
        self.podman(&mut pastes);
        self.containerd(&mut pastes);
        pastes
    }

    /// Whether docker takes it without TLS untold.
    fn is_loopback(&self) -> bool {
        let host = match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.host,
        };
        is_loopback(host)
    }

    fn docker(&self, pastes: &mut Vec<Paste>) {
        let host = &self.host;
        match &self.proof {
            Proof::Nothing if self.is_loopback() => {}
            Proof::Nothing => pastes.push(Paste {
                client: "docker",
                path: Some("/etc/docker/daemon.json".to_owned()),
                why: " (beside what is there; then: systemctl reload docker)".to_owned(),
                content: format!("{{\n  \"insecure-registries\": [\"{host}\"]\n}}\n"),
            }),
            Proof::Known => {}
            Proof::Private(pem) => pastes.push(self.authority("docker", DOCKER_CERTS, pem)),
        }
        self.login("docker", pastes);
        let command = format!("docker push {host}/team/app:v1\n");
        pastes.push(Paste::command("docker", command));
    }

    fn podman(&self, pastes: &mut Vec<Paste>) {
        let host = &self.host;
        match &self.proof {
            Proof::Nothing => pastes.push(Paste {
                client: "podman",
                path: Some("/etc/containers/registries.conf.d/drift.conf".to_owned()),
                why: String::new(),
                content: format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"),
            }),
            Proof::Known => {}
            Proof::Private(pem) => pastes.push(self.authority("podman", PODMAN_CERTS, pem)),
        }
        self.login("podman", pastes);
        let command = format!("podman push {host}/team/app:v1\n");
        pastes.push(Paste::command("podman", command));
    }

    fn containerd(&self, pastes: &mut Vec<Paste>) {
        let host = &self.host;
        let directory = format!("{CONTAINERD_CERTS}/{host}");
        let scheme = match self.proof {
            Proof::Nothing => "http",
            _ => "https",
        };
        let mut hosts = format!(
            "server = \"{scheme}://{host}\"\n\n[host.\"{scheme}://{host}\"]\n  \
             capabilities = [\"pull\", \"resolve\", \"push\"]\n"
        );
        if let Proof::Private(pem) = &self.proof {
            let authority = self.authority("containerd", CONTAINERD_CERTS, pem);
            hosts += &format!("  ca = \"{directory}/ca.crt\"\n");
            pastes.push(authority);
        }
        pastes.push(Paste {
            client: "containerd",
            path: Some(format!("{directory}/hosts.toml")),
            why: String::new(),
            content: hosts,
        });
        pastes.push(Paste {
            client: "containerd",
            path: Some("/etc/containerd/config.toml".to_owned()),
            why: " (for Kubernetes; then: systemctl restart containerd)".to_owned(),
            content: format!(
                "# containerd 1:\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  \
                 config_path = \"{CONTAINERD_CERTS}\"\n\
                 # containerd 2:\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  \
                 config_path = \"{CONTAINERD_CERTS}\"\n"
            ),
        });
        let user = match self.login {
            true => "--user NAME ",
            false => "",
        };
        let command =
            format!("ctr images pull --hosts-dir {CONTAINERD_CERTS} {user}{host}/team/app:v1\n");
        pastes.push(Paste::command("containerd", command));
        if self.login {
            let command = format!(
                "kubectl create secret docker-registry drift --docker-server={host} \
                 --docker-username=NAME --docker-password=PASSWORD\n"
            );
            pastes.push(Paste::command("containerd", command));
        }
    }

    /// The file of the authority below one of their directories.
    fn authority(&self, client: &'static str, directory: &str, pem: &Option<String>) -> Paste {
        let path = format!("{directory}/{}/ca.crt", self.host);
        match pem {
            Some(pem) => Paste {
                client,
                path: Some(path),
                why: String::new(),
                content: pem.clone(),
            },
            None => Paste::command(
                client,
                format!(
                    "install -D -m 0644 CA.crt '{path}'   # CA.crt: who signed the certificate, in PEM\n"
                ),
            ),
        }
    }

    fn login(&self, client: &'static str, pastes: &mut Vec<Paste>) {
        if self.login {
            let command = format!("{client} login -u NAME {}\n", self.host);
            pastes.push(Paste::command(client, command));
        }
    }
}

impl Paste {
    fn command(client: &'static str, content: String) -> Self {
        Paste {
            client,
            path: None,
            why: String::new(),
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(host: &str, proof: Proof, login: bool) -> Vec<(String, String)> {
        let target = Target {
            host: host.to_owned(),
            proof,
            login,
        };
        let pastes = target.pastes().into_iter();
        let told = pastes.map(|paste| {
            let at = paste.path.unwrap_or_else(|| paste.client.to_owned());
            (at, paste.content)
        });
        told.collect()
    }

    fn paths(told: &[(String, String)]) -> Vec<&str> {
        let paths = told.iter().map(|(path, _)| path.as_str());
        paths.filter(|path| path.starts_with('/')).collect()
    }

    #[test]
    fn docker_is_told_of_plain_http_but_on_the_loopback() {
        for (host, wanted) in [
            ("localhost:5000", false),
            ("127.0.0.1:5000", false),
            ("[::1]:5000", false),
            ("10.0.0.7:5000", true),
            ("registry.example.com", true),
        ] {
            let told = told(host, Proof::Nothing, false);
            let paths = paths(&told);
            assert_eq!(paths.contains(&"/etc/docker/daemon.json"), wanted, "{host}");
            let podman = "/etc/containers/registries.conf.d/drift.conf";
            assert!(paths.contains(&podman), "{host}");
        }
    }

    #[test]
    fn an_authority_goes_to_each_client_and_one_that_is_known_to_none() {
        let private = told("r:5000", Proof::Private(Some("PEM\n".to_owned())), true);
        let pems: Vec<_> = private.iter().filter(|it| it.1 == "PEM\n").collect();
        assert_eq!(pems.len(), 3, "{private:?}");
        let hosts = private.iter().find(|it| it.0.ends_with("hosts.toml"));
        let hosts = &hosts.unwrap().1;
        assert!(hosts.contains("ca = \"/etc/containerd/certs.d/r:5000/ca.crt\""));
        assert!(hosts.starts_with("server = \"https://r:5000\""));
        let known = told("r.example.com", Proof::Known, false);
        assert!(known.iter().all(|it| !it.1.contains("ca.crt")), "{known:?}");
        assert!(!known.iter().any(|it| it.1.contains("login")), "{known:?}");
        assert!(private.iter().any(|it| it.1.starts_with("podman login")));
    }
}
